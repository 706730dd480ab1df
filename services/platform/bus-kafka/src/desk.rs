//! The client that asks, and the thread that serves it and looks after clients that nobody calls.

use std::convert::identity;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bus::Error;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::Settings;
use crate::client::{self, Watch, lock};
use crate::lag::Listing;
use crate::producer::Publisher;
use crate::reader::Readers;

/// How often clients that nobody calls are turned, so that what they report does not pile up.
const TURN: Duration = Duration::from_millis(500);

/// Asks for metadata, offsets and groups; reads nothing.
pub(crate) struct Desk {
    settings: Arc<Settings>,
    client: Mutex<Arc<BaseConsumer<Watch>>>,
}

impl Desk {
    pub fn open(settings: Arc<Settings>) -> Result<Self, Error> {
        let client = Mutex::new(Arc::new(Self::make(&settings)?));
        Ok(Self { settings, client })
    }

    fn make(settings: &Settings) -> Result<BaseConsumer<Watch>, Error> {
        client::create(settings, &client::desk(settings)?, identity)
    }

    pub fn client(&self) -> Arc<BaseConsumer<Watch>> {
        lock(&self.client).clone()
    }

    /// What was asked by a client that gives way is asked in vain; what is asked from now on is not.
    fn renew(&self) {
        if !self.client().context().gives_way() {
            return;
        }
        match Self::make(&self.settings) {
            Ok(fresh) => {
                let old = std::mem::replace(&mut *lock(&self.client), Arc::new(fresh));
                drop(old);
            }
            Err(error) => tracing::warn!(%error, "kafka: nobody asks anew"),
        }
    }
}

/// Serves the events of clients between calls until the bus is gone, and renews those that give way.
pub(crate) fn turn(
    settings: Arc<Settings>,
    desk: Weak<Desk>,
    publisher: Weak<Publisher>,
    readers: Weak<Readers>,
    listing: Weak<Listing>,
) -> Result<(), Error> {
    let turning = move || {
        while let (Some(desk), Some(publisher), Some(readers), Some(listing)) =
            (desk.upgrade(), publisher.upgrade(), readers.upgrade(), listing.upgrade())
        {
            settings.sign_in.look();
            desk.renew();
            publisher.renew();
            readers.drop_idle();
            listing.drop_idle();
            let client = desk.client();
            drop((desk, publisher, readers, listing));
            drop(client.poll(TURN));
        }
    };
    let thread = std::thread::Builder::new().name("kafka-desk".to_owned()).spawn(turning);
    thread.map(drop).map_err(|error| Error::Unavailable(format!("no thread for Kafka: {error}")))
}
