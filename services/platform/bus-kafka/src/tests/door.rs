//! A door before a mock broker, which asks nobody for a password: this one does, the plain way, and is slammed when it is
//! another one. It knows what was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bus::Bus;
use contracts::topics;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::moved::move_address;
use crate::client::lock;
use crate::{Options, Password};

/// Numbers of requests in the protocol.
pub(super) const FIND_COORDINATOR: i16 = 10;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;

struct House {
    /// Where the broker is, and where it is said to be.
    broker: u16,
    door: u16,
    password: Mutex<String>,
    asked: Mutex<Vec<i16>>,
    refused: watch::Sender<usize>,
    slammed: watch::Sender<usize>,
}

pub(super) struct Door {
    address: SocketAddr,
    house: Arc<House>,
    _doorman: JoinSet<()>,
    _broker: MockCluster<'static, DefaultProducerContext>,
}

impl Door {
    pub async fn new(password: &str) -> Self {
        let mock = MockCluster::new(1).unwrap();
        for topic in topics::ALL {
            mock.create_topic(topic.name, i32::try_from(topic.partitions).unwrap(), 1).unwrap();
        }
        let broker = mock.bootstrap_servers().rsplit_once(':').unwrap().1.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let house = Arc::new(House {
            broker,
            door: address.port(),
            password: Mutex::new(password.to_owned()),
            asked: Mutex::default(),
            refused: watch::Sender::new(0),
            slammed: watch::Sender::new(0),
        });
        let mut doorman = JoinSet::new();
        doorman.spawn(stand(listener, house.clone()));
        Self { address, house, _doorman: doorman, _broker: mock }
    }

    /// Whoever opens says what `password` says.
    pub async fn open(&self, password: Password) -> Arc<dyn Bus> {
        let url = format!("kafka://{}?security=sasl_plaintext&mechanism=PLAIN&user=rtc", self.address);
        crate::open(&url, Options { password: Some(password), ..Options::default() }).await.unwrap()
    }

    /// From now on `password` is asked for, and nobody is in.
    pub fn change(&self, password: &str) {
        password.clone_into(&mut lock(&self.house.password));
        self.house.slammed.send_modify(|times| *times += 1);
    }

    /// Until somebody has been refused.
    pub async fn refuses(&self) {
        self.house.refused.subscribe().wait_for(|times| *times > 0).await.unwrap();
    }

    /// What was asked since this was last called.
    pub fn asked(&self) -> Vec<i16> {
        std::mem::take(&mut lock(&self.house.asked))
    }
}

async fn stand(listener: TcpListener, house: Arc<House>) {
    let mut inside = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (house, mut slammed) = (house.clone(), house.slammed.subscribe());
        inside.spawn(async move {
            tokio::select! {
                _ = enter(client, &house) => {}
                _ = slammed.changed() => {}
            }
        });
    }
}

async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; usize::try_from(from.read_u32().await?).unwrap()];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(to: &mut OwnedWriteHalf, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    to.write_all(&[length.as_slice(), frame].concat()).await
}

fn request_of(frame: &[u8]) -> i16 {
    i16::from_be_bytes([frame[0], frame[1]])
}

async fn enter(client: TcpStream, house: &House) -> io::Result<()> {
    let broker = TcpStream::connect(("127.0.0.1", house.broker)).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_broker, mut to_broker)) =
        (client.into_split(), broker.into_split());
    loop {
        let frame = read(&mut from_client).await?;
        match request_of(&frame) {
            API_VERSIONS => {
                write(&mut to_broker, &frame).await?;
                write(&mut to_client, &with_handshake(read(&mut from_broker).await?)).await?;
            }
            SASL_HANDSHAKE => {
                // Which it answers, no error, and one mechanism.
                let answer = [&frame[4..8], &[0, 0], &[0, 0, 0, 1], &[0, 5], b"PLAIN"].concat();
                write(&mut to_client, &answer).await?;
            }
            // A zero, the user, a zero, the password.
            _ if frame == format!("\0rtc\0{}", lock(&house.password)).into_bytes() => break,
            _ => {
                house.refused.send_modify(|times| *times += 1);
                return Ok(());
            }
        }
    }
    write(&mut to_client, &[]).await?;
    let ask = pass(&mut from_client, &mut to_broker, |frame| lock(&house.asked).push(request_of(frame)));
    let answer =
        pass(&mut from_broker, &mut to_client, |frame| move_address(frame, house.broker, house.door));
    tokio::try_join!(ask, answer).map(drop)
}

/// What the broker can do, and what the door does: behind the number of the question and an error come a count, and for each
/// request its number with its first and last version.
fn with_handshake(mut answer: Vec<u8>) -> Vec<u8> {
    let count = u32::from_be_bytes([answer[6], answer[7], answer[8], answer[9]]) + 1;
    answer[6..10].copy_from_slice(&count.to_be_bytes());
    answer.splice(10..10, [0, 17, 0, 0, 0, 0]);
    answer
}

async fn pass(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut see: impl FnMut(&mut [u8]),
) -> io::Result<()> {
    loop {
        let mut frame = read(from).await?;
        see(&mut frame);
        write(to, &frame).await?;
    }
}
