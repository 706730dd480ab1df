//! The sending of batches, to a platform that misbehaves by a script.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Duration;

use jiff::tz::TimeZone;
use kernel::Currency;
use kernel::id::SplitMix;
use sales::{Invoices, Item, Options, Transaction, parse};

use super::*;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
const GOOD: &str = "536365,71053,LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom";

/// A platform that keeps what it was sent and answers by a script first.
#[derive(Default)]
struct Platform {
    script: Mutex<Vec<NotTaken<&'static str>>>,
    poison: Option<&'static str>,
    known: Mutex<HashSet<String>>,
    calls: Mutex<Vec<usize>>,
}

impl Ingest for Platform {
    type Error = &'static str;

    async fn send(&self, batch: &[Transaction]) -> Result<Answer, NotTaken<&'static str>> {
        self.calls.lock().unwrap().push(batch.len());
        if let Some(refusal) = self.script.lock().unwrap().pop() {
            return Err(refusal);
        }
        if batch.iter().any(|transaction| Some(transaction.external_id.as_str()) == self.poison) {
            return Err(NotTaken::Content { code: "unreadable".into(), detail: "no".into() });
        }
        let mut answer = Answer::default();
        for transaction in batch {
            match self.known.lock().unwrap().insert(transaction.external_id.clone()) {
                true => answer.accepted += 1,
                false => answer.duplicates += 1,
            }
        }
        Ok(answer)
    }
}

fn five() -> Vec<Transaction> {
    let text = format!("{HEADER}\n{}", format!("{GOOD}\n").repeat(5));
    let options = Options { currency: Currency::GBP, zone: TimeZone::UTC };
    let mut five = Vec::new();
    parse(text.as_bytes(), &options, &mut Invoices::default(), |item| {
        if let Item::Sale(sale) = item {
            five.push(sale.transaction);
        }
        ControlFlow::Continue(())
    });
    five
}

async fn send(platform: &Platform) -> (Result<Delivered, &'static str>, Vec<Duration>) {
    let pauses = RefCell::new(Vec::new());
    let delivered = deliver(platform, &five(), Patience::default(), &mut SplitMix(7), |_, pause| {
        pauses.borrow_mut().push(pause);
    })
    .await;
    (delivered, pauses.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_is_all_duplicates() {
    let platform = Platform::default();
    assert_eq!(send(&platform).await.0.unwrap().accepted, 5);
    let second = send(&platform).await.0.unwrap();
    assert_eq!((second.accepted, second.duplicates), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_platform_is_asked_again_when_it_said() {
    let later = |after| NotTaken::Later { after, why: "503" };
    let asked = Some(Duration::from_secs(3));
    let platform =
        Platform { script: Mutex::new(vec![later(None), later(None), later(asked)]), ..Platform::default() };
    let (delivered, pauses) = send(&platform).await;
    assert_eq!(delivered.unwrap(), Delivered { accepted: 5, retries: 3, ..Delivered::default() });
    assert!((Duration::from_secs(3)..Duration::from_millis(3_300)).contains(&pauses[0]), "{pauses:?}");
    assert!(pauses[1] <= Duration::from_millis(200) && pauses[2] > pauses[1], "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_stays_away_is_given_up_in_the_end() {
    let script = (0..1_000).map(|_| NotTaken::Later { after: None, why: "refused" }).collect();
    let platform = Platform { script: Mutex::new(script), ..Platform::default() };
    let (delivered, pauses) = send(&platform).await;
    assert_eq!(delivered, Err("refused"));
    let waited: Duration = pauses.iter().sum();
    assert!(waited <= Duration::from_secs(120) && waited > Duration::from_secs(100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn one_unreadable_line_does_not_hold_up_its_batch() {
    let platform = Platform { poison: Some("536365#4"), ..Platform::default() };
    let delivered = send(&platform).await.0.unwrap();
    assert_eq!((delivered.accepted, delivered.duplicates), (4, 0));
    let rejected = &delivered.rejected;
    assert_eq!((rejected.len(), rejected[0].index, rejected[0].code.as_str()), (1, 3, "unreadable"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_waiting_cannot_heal_ends_it_at_once() {
    let platform = Platform { script: Mutex::new(vec![NotTaken::Never("403")]), ..Platform::default() };
    assert_eq!(send(&platform).await.0, Err("403"));
    assert_eq!(*platform.calls.lock().unwrap(), [5]);
}
