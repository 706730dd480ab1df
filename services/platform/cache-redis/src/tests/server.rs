//! The few commands of Redis that the cache sends, in memory, with faults on demand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustls::server::ServerConfig;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Good,
    /// Takes connections and commands and answers nothing.
    Silent,
    /// Closes what is open and what comes.
    Closed,
    /// Takes no more values.
    Full,
}

#[derive(Default)]
struct Held {
    values: HashMap<Vec<u8>, Vec<u8>>,
    password: Option<String>,
    version: Option<String>,
    unanswered: usize,
    commands: usize,
    /// What new connections are spoken to with; in the open where there is none.
    tls: Option<Arc<ServerConfig>>,
}

pub struct Server {
    port: u16,
    held: Arc<Mutex<Held>>,
    conduct: watch::Sender<Conduct>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let held = Arc::<Mutex<Held>>::default();
        let (conduct, changes) = watch::channel(Conduct::Good);
        tokio::spawn({
            let held = held.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(take(stream, held.clone(), changes.clone()));
                }
            }
        });
        Self { port, held, conduct }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the next connection on.
    pub fn speak_tls(&self, config: Arc<ServerConfig>) {
        self.held.lock().unwrap().tls = Some(config);
    }

    /// How many commands there were, in whatever state.
    pub fn commands(&self) -> usize {
        self.held.lock().unwrap().commands
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn conduct(&self, conduct: Conduct) {
        self.conduct.send_replace(conduct);
    }

    pub fn clear(&self) {
        self.held.lock().unwrap().values.clear();
    }

    pub fn require_password(&self, password: &str) {
        self.held.lock().unwrap().password = Some(password.to_owned());
    }

    pub fn be_version(&self, version: &str) {
        self.held.lock().unwrap().version = Some(version.to_owned());
    }

    pub fn commands_while_silent(&self) -> usize {
        self.held.lock().unwrap().unanswered
    }
}

type Command = Vec<Vec<u8>>;

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), kind: u8) -> std::io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let number = line.trim_end().strip_prefix(char::from(kind)).and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| std::io::Error::other("the end, or not the protocol"))
}

async fn read_command(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Command> {
    let mut command = Vec::new();
    for _ in 0..read_line(stream, b'*').await? {
        let mut part = vec![0; read_line(stream, b'$').await? + 2];
        stream.read_exact(&mut part).await?;
        part.truncate(part.len() - 2);
        command.push(part);
    }
    Ok(command)
}

async fn take(stream: TcpStream, held: Arc<Mutex<Held>>, changes: watch::Receiver<Conduct>) {
    let tls = held.lock().unwrap().tls.clone();
    let Some(config) = tls else { return serve(stream, held, changes).await };
    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
        serve(stream, held, changes).await;
    }
}

async fn serve<S>(stream: S, held: Arc<Mutex<Held>>, mut changes: watch::Receiver<Conduct>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut is_known = false;
    let mut queued: Option<Vec<Command>> = None;
    loop {
        if *changes.borrow_and_update() == Conduct::Closed {
            return;
        }
        let command = tokio::select! {
            command = read_command(&mut stream) => command,
            _ = changes.wait_for(|conduct| *conduct == Conduct::Closed) => return,
        };
        let Ok(command) = command else { return };
        held.lock().unwrap().commands += 1;
        let conduct = *changes.borrow();
        if conduct == Conduct::Silent {
            held.lock().unwrap().unanswered += 1;
            continue;
        }
        let answer = {
            let mut held = held.lock().unwrap();
            let name = String::from_utf8_lossy(&command[0]).to_uppercase();
            match (name.as_str(), &mut queued) {
                ("AUTH", _) => {
                    let given = command.last().map(|text| String::from_utf8_lossy(text).into_owned());
                    is_known = held.password == given;
                    if is_known { ok() } else { b"-WRONGPASS invalid username-password pair\r\n".to_vec() }
                }
                _ if held.password.is_some() && !is_known => b"-NOAUTH Authentication required.\r\n".to_vec(),
                ("MULTI", _) => {
                    queued = Some(Vec::new());
                    ok()
                }
                ("EXEC", queue) => {
                    let commands = queue.take().unwrap_or_default();
                    let mut answers = format!("*{}\r\n", commands.len()).into_bytes();
                    for command in commands {
                        answers.extend(held.answer(conduct, &command));
                    }
                    answers
                }
                (_, Some(queue)) => {
                    queue.push(command);
                    b"+QUEUED\r\n".to_vec()
                }
                (_, None) => held.answer(conduct, &command),
            }
        };
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

fn ok() -> Vec<u8> {
    b"+OK\r\n".to_vec()
}

fn number(n: i64) -> Vec<u8> {
    format!(":{n}\r\n").into_bytes()
}

fn bulk(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
        None => b"$-1\r\n".to_vec(),
    }
}

impl Held {
    fn answer(&mut self, conduct: Conduct, command: &Command) -> Vec<u8> {
        let name = String::from_utf8_lossy(&command[0]).to_uppercase();
        let is_growing = matches!(name.as_str(), "SET" | "EVALSHA" | "INCRBY");
        if conduct == Conduct::Full && is_growing {
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec();
        }
        match name.as_str() {
            "INFO" => {
                let version = self.version.as_deref().unwrap_or("7.0.15");
                bulk(Some(format!("# Server\r\nredis_version:{version}\r\nos:x\r\n").as_bytes()))
            }
            "GET" => bulk(self.values.get(&command[1]).map(Vec::as_slice)),
            // Always sent with NX.
            "SET" if self.values.contains_key(&command[1]) => bulk(None),
            "SET" => {
                self.values.insert(command[1].clone(), command[2].clone());
                ok()
            }
            "DEL" => {
                number(command[1..].iter().filter(|key| self.values.remove(*key).is_some()).count() as i64)
            }
            // The one script that there is: hash, number of keys, key, lease, value, time.
            "EVALSHA" => {
                let stands = self.values.get(&command[3]).is_some_and(|held| *held == command[4]);
                if stands {
                    self.values.insert(command[3].clone(), command[5].clone());
                }
                number(i64::from(stands))
            }
            "INCRBY" => {
                let read = |text: &[u8]| String::from_utf8_lossy(text).parse::<i64>().unwrap_or(0);
                let before = self.values.get(&command[1]).map_or(0, |held| read(held));
                let total = before + read(&command[2]);
                self.values.insert(command[1].clone(), total.to_string().into_bytes());
                number(total)
            }
            "PTTL" => number(1_000),
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }
}
