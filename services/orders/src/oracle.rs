//! What durable data says of the orders' invariants.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use contracts::OrderId;
use db::{Db, params};
use host::Verdict;
use kernel::{Envelope, EventId, Timestamp};
use messaging::Extent;

use crate::domain::OrderState;
use crate::projections::products;

/// How long an order may be under way: its time to live and a minute (I4).
const UNSETTLED_MAX: Duration = Duration::from_secs(15 * 60 + 60);

/// For how long at least the inbox remembers what was handled.
const REMEMBERED_FOR: Duration = Duration::from_secs(6 * 86_400);

/// What the join over all stores needs of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFact {
    pub state: OrderState,
    /// The customer was charged: it was confirmed at some time.
    pub was_confirmed: bool,
    pub total: kernel::Money,
}

/// I4: every accepted order ends in exactly one terminal state in time; its history is numbered without a gap and
/// uses only the allowed ways.
pub async fn verdicts(db: &Db, now: Timestamp) -> Result<Vec<Verdict>, db::Error> {
    let rows: Vec<(OrderId, OrderState, i64, Timestamp)> = db
        .read(|tx| {
            let sql = "SELECT id, state, version, updated_at FROM orders ORDER BY id";
            tx.query(sql, params![], |row| Ok((row.parse(0)?, row.parse(1)?, row.get(2)?, row.get(3)?)))
        })
        .await?;
    let histories = histories(db).await?;
    let mut verdict = Verdict::new("I4", "each accepted order ends in exactly one terminal state, in time");
    for (id, state, version, updated_at) in rows {
        verdict.look(histories.get(&id).map_or(Some(format!("{id} has no history")), |history| {
            let mut problem = check_history(history);
            // The history may be ahead of the row by what was committed between the two reads.
            if problem.is_none() && (history.len() as i64) < version {
                problem = Some("the history is shorter than the version".to_owned());
            }
            if problem.is_none() && !state.is_settled() && now.since(updated_at) > UNSETTLED_MAX {
                problem = Some(format!("{state} since {updated_at}"));
            }
            problem.map(|problem| format!("{id}: {problem}"))
        }));
    }
    Ok(vec![verdict])
}

/// The products that orders are priced by, and the messages that have led to them.
pub struct ReadModel {
    /// `None` while it is being rebuilt: then the old one stands, and what was handled is known elsewhere.
    seen: Option<(BTreeMap<String, products::Stored>, HashSet<EventId>)>,
}

impl ReadModel {
    /// As they are at one moment.
    pub async fn look(db: &Db) -> Result<Self, db::Error> {
        db.read(|tx| {
            let stage = "SELECT 1 FROM projections WHERE consumer = ? AND stage <> 'live'";
            if tx.query_opt(stage, params![products::GROUP], |_| Ok(()))?.is_some() {
                return Ok(Self { seen: None });
            }
            let handled = "SELECT event_id FROM inbox WHERE consumer = ?";
            let handled = tx.query(handled, params![products::GROUP], |row| row.parse(0))?;
            Ok(Self { seen: Some((products::all(tx)?, handled.into_iter().collect())) })
        })
        .await
    }

    /// I15: they are the fold of what was handled of the catalogue's `log`, which was read after they were and is given in its
    /// order. `extent` is what of the topic's history it still holds.
    pub fn compare(self, log: &[Envelope], extent: Extent, now: Timestamp) -> Verdict {
        let mut verdict =
            Verdict::new("I15", "the products that orders know are the fold of the catalogue's log");
        let Some((mut stored, handled)) = self.seen else { return verdict };
        let horizon = now.minus(REMEMBERED_FOR);
        // Whatever is older than the inbox remembers was handled long ago.
        let took_effect = |envelope: &&Envelope| {
            handled.contains(&envelope.id) || kernel::id::made_at(envelope.id.uuid()) < horizon
        };
        let folded = products::fold(log.iter().filter(took_effect));
        for (id, wanted) in folded {
            verdict.look(match stored.remove(&id) {
                None => Some(format!("{id} is missing")),
                Some(found) if found != wanted => Some(format!("{id} is {found}, and by the log {wanted}")),
                Some(_) => None,
            });
        }
        for id in stored.into_keys() {
            // What a log has let go of may have told of it.
            let is_made_up = extent == Extent::Whole;
            verdict.look(is_made_up.then(|| format!("{id} is in no message that was handled")));
        }
        verdict
    }
}

async fn histories(db: &Db) -> Result<BTreeMap<OrderId, Vec<OrderState>>, db::Error> {
    let rows: Vec<(OrderId, i64, OrderState)> = db
        .read(|tx| {
            let sql = "SELECT order_id, sequence, state FROM order_history ORDER BY order_id, sequence";
            tx.query(sql, params![], |row| Ok((row.parse(0)?, row.get(1)?, row.parse(2)?)))
        })
        .await?;
    let mut histories: BTreeMap<OrderId, Vec<OrderState>> = BTreeMap::new();
    for (id, _, state) in rows {
        histories.entry(id).or_default().push(state);
    }
    Ok(histories)
}

fn check_history(history: &[OrderState]) -> Option<String> {
    if history.first() != Some(&OrderState::Placed) {
        return Some("the history does not begin with placed".to_owned());
    }
    let wrong = history.windows(2).find(|pair| !pair[0].may_become(pair[1]))?;
    Some(format!("the history goes from {} to {}", wrong[0], wrong[1]))
}

/// Every order's state, for the join with stock and money (I6).
pub async fn facts(db: &Db) -> Result<BTreeMap<OrderId, OrderFact>, db::Error> {
    db.read(|tx| {
        let sql = "SELECT id, state, total, currency, EXISTS (SELECT 1 FROM order_history h \
                   WHERE h.order_id = orders.id AND h.state = 'confirmed') FROM orders ORDER BY id";
        let rows = tx.query(sql, params![], |row| {
            let fact = OrderFact { state: row.parse(1)?, total: row.money(2)?, was_confirmed: row.get(4)? };
            Ok((row.parse(0)?, fact))
        })?;
        Ok(rows.into_iter().collect())
    })
    .await
}
