//! The service's tests, and the bench that most of them stand at: a desk with a database of its own and no bus.

mod commands;
mod hostile;
mod http;
mod oracle;
mod races;
mod random;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contracts::inventory::StockLine;
use contracts::{OrderId, UserId};
use db::{Db, params};
use kernel::{Clock, Envelope, IdSource, ManualClock};
use messaging::Outbox;
use serde_json::Value;
use testkit::NOON;

use crate::commands::Ask;
use crate::domain::{Item, Mode, State, Trigger};
use crate::{Config, Desk, Metrics, oracle as sut, store};

pub(crate) const TEN_MINUTES: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct Bench {
    pub db: Db,
    pub desk: Arc<Desk>,
    pub clock: Arc<ManualClock>,
    pub ids: IdSource,
}

/// One answer: the short name of its type, and its data.
pub(crate) type Said = (String, Value);

impl Bench {
    pub async fn in_memory() -> Self {
        Self::over(Db::in_memory().unwrap(), Config::default()).await
    }

    pub async fn in_file(directory: &Path) -> Self {
        Self::over(Db::open_sqlite(&directory.join("inventory.db")).unwrap(), Config::default()).await
    }

    pub async fn over(db: Db, config: Config) -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        let shared: Arc<dyn Clock> = clock.clone();
        let ids = IdSource::new(shared.clone(), 11);
        db.migrate(store::MIGRATIONS).await.unwrap();
        let outbox = Outbox::new("inventory", shared.clone(), ids.clone());
        let desk = Arc::new(Desk::new(outbox, shared, host::Live::fixed(config), Metrics::default()));
        Self { db, desk, clock, ids }
    }

    pub fn order(&self) -> OrderId {
        self.ids.next()
    }

    pub async fn adjust(&self, sku: &str, delta: i64) -> kernel::Result<Item> {
        let (desk, sku) = (self.desk.clone(), sku.to_owned());
        let actor = UserId::from(uuid());
        self.db.write(move |tx| desk.adjust(tx, &sku, delta, "counted", actor)).await
    }

    pub async fn configure(&self, sku: &str, threshold: i64, mode: Mode) {
        let (desk, sku) = (self.desk.clone(), sku.to_owned());
        self.db.write(move |tx| desk.configure(tx, &sku, threshold, mode, |_| Ok(()))).await.unwrap();
    }

    /// Reserves for ten minutes from now.
    pub async fn reserve(&self, order: OrderId, lines: &[(&str, i64)]) -> Said {
        self.reserve_for(order, lines, TEN_MINUTES).await
    }

    pub async fn reserve_for(&self, order: OrderId, lines: &[(&str, i64)], time: Duration) -> Said {
        let line = |(sku, quantity): &(&str, i64)| StockLine { sku: (*sku).to_owned(), quantity: *quantity };
        let ask = Ask { lines: lines.iter().map(line).collect(), expires_at: self.clock.now().plus(time) };
        self.command(order, Trigger::Reserve, ask).await
    }

    pub async fn send(&self, order: OrderId, trigger: Trigger) -> Said {
        self.command(order, trigger, Ask::NOTHING).await
    }

    /// Handles a command and gives its answer; panics where there is not exactly one.
    async fn command(&self, order: OrderId, trigger: Trigger, ask: Ask) -> Said {
        let desk = self.desk.clone();
        let before = self.said_of(order).await.len();
        self.db.write(move |tx| desk.handle(tx, order, trigger, &ask, None)).await.unwrap();
        let mut said = self.said_of(order).await.split_off(before);
        assert_eq!(said.len(), 1, "{trigger:?} has one answer");
        said.remove(0)
    }

    pub async fn expire_due(&self) -> usize {
        let desk = self.desk.clone();
        self.db.write(move |tx| desk.expire_due(tx, desk.now())).await.unwrap()
    }

    pub async fn item(&self, sku: &str) -> Item {
        let sku = sku.to_owned();
        self.db.read(move |tx| store::item(tx, &sku)).await.unwrap().unwrap()
    }

    /// On hand and reserved.
    pub async fn stock(&self, sku: &str) -> (i64, i64) {
        let item = self.item(sku).await;
        (item.on_hand, item.reserved)
    }

    pub async fn state(&self, order: OrderId) -> Option<State> {
        sut::reservations(&self.db).await.unwrap().get(&order).copied()
    }

    /// Everything that waits in the outbox under this subject.
    async fn told(&self, subject: &str) -> Vec<Said> {
        let subject = subject.to_owned();
        let sql = "SELECT payload FROM outbox WHERE subject = ? ORDER BY id";
        let envelopes: Vec<Envelope> =
            self.db.read(move |tx| tx.query(sql, params![subject], |row| row.json(0))).await.unwrap();
        let short = |envelope: &Envelope| {
            envelope.event_type.trim_start_matches("rtc.inventory.").trim_end_matches(".v1").to_owned()
        };
        envelopes.iter().map(|envelope| (short(envelope), envelope.decode().unwrap())).collect()
    }

    /// What it says to whoever gave commands: without levels, which are those of the moment and not of the answer.
    pub async fn said(&self, subject: &str) -> Vec<Said> {
        let mut said = self.told(subject).await;
        said.retain(|(what, _)| what != "stock_expired");
        for (_, data) in &mut said {
            if let Some(fields) = data.as_object_mut() {
                fields.remove("levels");
            }
        }
        said
    }

    /// The levels that it tells of, as (sku, on hand, reserved), message by message.
    pub async fn levels(&self, subject: &str) -> Vec<(String, Vec<(String, i64, i64)>)> {
        let level = |level: &Value| {
            let number = |name: &str| level[name].as_i64().unwrap();
            (level["sku"].as_str().unwrap().to_owned(), number("on_hand"), number("reserved"))
        };
        let told = self.told(subject).await;
        let with_levels = told.into_iter().filter_map(|(what, data)| {
            let levels = data["levels"].as_array()?;
            Some((what, levels.iter().map(level).collect()))
        });
        with_levels.collect()
    }

    pub async fn said_of(&self, order: OrderId) -> Vec<Said> {
        self.said(&order.to_string()).await
    }

    /// I1 to I3 hold.
    #[track_caller]
    pub fn assert_sound(&self) -> impl Future<Output = ()> + use<'_> {
        assert_sound(&self.db)
    }
}

pub(crate) async fn assert_sound(db: &Db) {
    for verdict in sut::verdicts(db).await.unwrap() {
        assert!(verdict.holds(), "{}: {:?}", verdict.id, verdict.violations);
        assert!(verdict.checked > 0, "{} has looked at nothing", verdict.id);
    }
}

fn uuid() -> kernel::id::reexport::Uuid {
    testkit::House::user(9).uuid()
}
