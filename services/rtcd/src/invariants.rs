//! The oracles that need more than one store, and the list of all of them (docs/INVARIANTS.md).
//!
//! Every oracle reads durable data only. Stores are read one after the other while the platform may be running, so
//! what looks wrong is looked at a second time and counts only if it stayed as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bus::Bus;
use contracts::{OrderId, topics};
use db::{Db, params};
use host::Verdict;
use kernel::{EventId, Timestamp};
use messaging::Extent;
use orders::OrderState;
use orders::oracle::OrderFact;
use serde::Deserialize;

type Stores = [(&'static str, Db)];

fn store<'a>(stores: &'a Stores, name: &str) -> Option<&'a Db> {
    stores.iter().find(|(known, _)| *known == name).map(|(_, db)| db)
}

/// Checks I1–I7 and I11–I15 as far as their services run here.
pub async fn check(stores: &Stores, bus: &dyn Bus, now: Timestamp) -> kernel::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    if let Some(db) = store(stores, "inventory") {
        verdicts.extend(inventory::oracle::verdicts(db).await?);
    }
    if let Some(db) = store(stores, "orders") {
        verdicts.extend(orders::oracle::verdicts(db, now).await?);
        verdicts.push(idempotency(db).await?);
        verdicts.push(read_model(db, bus, now).await?);
    }
    if let Some(db) = store(stores, "payments") {
        verdicts.extend(payments::oracle::verdicts(db).await?);
    }
    if let (Some(orders), Some(inventory), Some(payments)) =
        (store(stores, "orders"), store(stores, "inventory"), store(stores, "payments"))
    {
        verdicts.push(joined(orders, inventory, payments).await?);
    }
    if let Some(db) = store(stores, "notifications") {
        verdicts.push(notifications::oracle::i14(db).await?);
    }
    verdicts.extend(messages(stores, bus, now).await?);
    verdicts.sort_by_key(|verdict| verdict.id[1..].parse::<u32>().unwrap_or(0));
    Ok(verdicts)
}

/// I11: an answered key names an order that is there, and no order has two keys.
async fn idempotency(orders: &Db) -> kernel::Result<Verdict> {
    #[derive(Deserialize)]
    struct Body {
        id: String,
    }
    let (answers, ids): (Vec<(String, String)>, HashSet<String>) = orders
        .read(|tx| -> Result<_, db::Error> {
            let sql = "SELECT request_key, body FROM idempotent_answers \
                       WHERE route = 'POST /api/v1/orders' AND status = 202";
            let answers = tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let ids = tx.query("SELECT id FROM orders", params![], |row| row.get(0))?;
            Ok((answers, ids.into_iter().collect()))
        })
        .await?;
    let mut verdict = Verdict::new("I11", "one idempotency key has one effect and one answer");
    let mut seen = HashSet::new();
    for (key, body) in answers {
        let problem = match serde_json::from_str::<Body>(&body) {
            Err(error) => Some(format!("key {key}: the stored answer cannot be read: {error}")),
            Ok(body) if !ids.contains(&body.id) => Some(format!("key {key}: order {} is not there", body.id)),
            Ok(body) if !seen.insert(body.id.clone()) => Some(format!("order {} has two keys", body.id)),
            Ok(_) => None,
        };
        verdict.look(problem);
    }
    Ok(verdict)
}

/// I15: the read model that can be compared message by message. It is looked at before the log: all that has led to it is there
/// by then.
async fn read_model(orders: &Db, bus: &dyn Bus, now: Timestamp) -> kernel::Result<Verdict> {
    let model = orders::oracle::ReadModel::look(orders).await?;
    let (mut told, mut extent) = (Vec::new(), Extent::Whole);
    for info in bus.partitions(topics::CATALOG.name).await? {
        if info.begin > 0 {
            extent = Extent::Tail;
        }
        let mut offset = info.begin;
        loop {
            let batch = bus.read(topics::CATALOG.name, info.partition, offset, 2_000).await?;
            let Some(last) = batch.last() else { break };
            offset = last.offset + 1;
            told.extend(batch.iter().filter_map(|delivery| delivery.envelope().ok()));
        }
    }
    Ok(model.compare(&told, extent, now))
}

/// I6: stock, money and order say the same.
async fn joined(orders: &Db, inventory: &Db, payments: &Db) -> kernel::Result<Verdict> {
    let look =
        async || -> kernel::Result<(BTreeMap<OrderId, OrderFact>, BTreeMap<OrderId, String>, usize)> {
            // Orders first: an order is called settled after stock and money have said so.
            let facts = orders::oracle::facts(orders).await?;
            let reservations = inventory::oracle::reservations(inventory).await?;
            let payments = payments::oracle::payments(payments).await?;
            let mut problems = BTreeMap::new();
            for (id, fact) in &facts {
                let stock = reservations.get(id).map(ToString::to_string);
                if let Some(problem) = disagreement(fact, stock.as_deref(), payments.get(id)) {
                    problems.insert(*id, problem);
                }
            }
            for (id, payment) in &payments {
                if !facts.contains_key(id) && payment.captured > 0 {
                    problems.insert(*id, "money was captured for an order that is not there".to_owned());
                }
            }
            Ok((facts, problems, payments.len()))
        };
    let (before, mut problems, checked) = look().await?;
    if !problems.is_empty() {
        let (after, again, _) = look().await?;
        problems.retain(|id, _| again.contains_key(id) && before.get(id) == after.get(id));
    }
    let mut verdict = Verdict::new("I6", "paid, stock committed and order confirmed go together");
    verdict.checked = checked.max(before.len()) as u64;
    for (id, problem) in problems {
        verdict.look(Some(format!("{id}: {problem}")));
        verdict.checked -= 1;
    }
    Ok(verdict)
}

fn disagreement(
    fact: &OrderFact,
    stock: Option<&str>,
    payment: Option<&payments::oracle::PaymentFacts>,
) -> Option<String> {
    let captured = payment.map_or(0, |payment| payment.captured);
    let refunded = payment.map_or(0, |payment| payment.refunded);
    let money = payment.map_or("never asked for", |payment| payment.state.as_str());
    match fact.state {
        OrderState::Confirmed | OrderState::Fulfilled => {
            if stock != Some("committed") {
                return Some(format!("{} with stock {}", fact.state, stock.unwrap_or("never asked for")));
            }
            (captured != fact.total.minor || refunded != 0).then(|| {
                format!("{} with {captured} captured and {refunded} refunded of {}", fact.state, fact.total)
            })
        }
        OrderState::Rejected | OrderState::Cancelled => {
            if matches!(stock, Some("held" | "committed")) {
                return Some(format!("{} with stock {}", fact.state, stock.unwrap_or("")));
            }
            if fact.was_confirmed && (captured, refunded) != (fact.total.minor, fact.total.minor) {
                return Some(format!("cancelled after payment with {refunded} of {captured} refunded"));
            }
            (matches!(money, "held" | "capturing" | "captured") || captured != refunded).then(|| {
                format!("{} with money {money}: {captured} captured, {refunded} refunded", fact.state)
            })
        }
        _ => None,
    }
}

/// What the oracles read of a message.
#[derive(Deserialize)]
struct Head {
    id: EventId,
    source: String,
    subject: String,
    sequence: i64,
}

/// The numbers of one subject's messages in the log.
#[derive(Default)]
struct Numbers {
    seen: HashSet<i64>,
    highest: i64,
}

/// I12 and I13: outboxes against the log, inboxes against the log.
async fn messages(stores: &Stores, bus: &dyn Bus, now: Timestamp) -> kernel::Result<Vec<Verdict>> {
    let mut committed: Vec<(&str, HashMap<String, i64>, HashMap<String, i64>)> = Vec::new();
    for (name, db) in stores {
        // Numbers first, then what still waits, then the log: a message moves only in that direction.
        let numbers = messaging::sequences(db).await?.into_iter().collect();
        committed.push((name, numbers, waiting(db).await?));
    }
    let (log, ids) = read_log(bus).await?;
    let mut published =
        Verdict::new("I12", "every committed message is published, in sequence, and no other");
    for (name, numbers, waiting) in &committed {
        for (subject, last) in numbers {
            let waits = waiting.get(subject).copied().unwrap_or(0);
            let in_log = log.get(&(name.to_string(), subject.clone()));
            let problem = match in_log {
                Some(found) => gap(found, last - waits),
                None if last - waits > 0 => Some("nothing of it is in the log".to_owned()),
                None => None,
            };
            published.look(problem.map(|problem| format!("{name}/{subject}: {problem}")));
        }
    }
    // Read again: what was published meanwhile was committed before.
    let mut current: HashMap<(String, String), i64> = HashMap::new();
    for (name, db) in stores {
        let numbers = messaging::sequences(db).await?;
        current.extend(numbers.into_iter().map(|(subject, last)| ((name.to_string(), subject), last)));
    }
    for ((source, subject), found) in &log {
        let runs_here = stores.iter().any(|(name, _)| name == source);
        let last = current.get(&(source.clone(), subject.clone())).copied().unwrap_or(0);
        if runs_here && found.highest > last {
            published
                .look(Some(format!("{source}/{subject}: {} is in the log, {last} committed", found.highest)));
        }
    }
    let mut handled = Verdict::new("I13", "every effect belongs to one published message");
    // The inbox remembers a day longer than the log: what the log may have let go of is not looked for.
    let horizon = now.minus(Duration::from_secs(6 * 86_400));
    for (name, db) in stores {
        for (consumer, event) in inbox(db).await? {
            if kernel::id::made_at(event.uuid()) < horizon {
                continue;
            }
            let known = ids.contains(&event);
            handled.look(
                (!known).then(|| format!("{name}: {consumer} handled {event}, which is not in the log")),
            );
        }
    }
    Ok(vec![published, handled])
}

/// The first number up to `last` that is missing. What retention has deleted from the front is not missed.
fn gap(numbers: &Numbers, last: i64) -> Option<String> {
    let lowest = numbers.seen.iter().min().copied().unwrap_or(1);
    let missing = (lowest..=last).find(|number| !numbers.seen.contains(number))?;
    Some(format!("number {missing} of {last} is not in the log"))
}

async fn waiting(db: &Db) -> kernel::Result<HashMap<String, i64>> {
    let rows = db
        .read(|tx| -> Result<Vec<(String, i64)>, db::Error> {
            let sql = "SELECT subject, COUNT(*) FROM outbox GROUP BY subject";
            tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

async fn inbox(db: &Db) -> kernel::Result<Vec<(String, EventId)>> {
    let rows = db
        .read(|tx| -> Result<Vec<(String, EventId)>, db::Error> {
            let sql = "SELECT consumer, event_id FROM inbox";
            tx.query(sql, params![], |row| Ok((row.get(0)?, row.parse(1)?)))
        })
        .await?;
    Ok(rows)
}

async fn read_log(bus: &dyn Bus) -> kernel::Result<(HashMap<(String, String), Numbers>, HashSet<EventId>)> {
    let (mut log, mut ids): (HashMap<(String, String), Numbers>, HashSet<EventId>) = Default::default();
    for topic in topics::ALL {
        for info in bus.partitions(topic.name).await? {
            let mut offset = 0;
            loop {
                let batch = bus.read(topic.name, info.partition, offset, 2_000).await?;
                let Some(last) = batch.last() else { break };
                offset = last.offset + 1;
                for delivery in &batch {
                    // What is no envelope was not written by an outbox.
                    let Ok(head) = serde_json::from_str::<Head>(&delivery.payload) else { continue };
                    ids.insert(head.id);
                    if head.sequence > 0 {
                        let numbers = log.entry((head.source, head.subject)).or_default();
                        numbers.seen.insert(head.sequence);
                        numbers.highest = numbers.highest.max(head.sequence);
                    }
                }
            }
        }
    }
    Ok((log, ids))
}
