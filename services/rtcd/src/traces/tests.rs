//! Spans that do not reach a collector are counted, each as what became of it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry::trace::{Span as _, Tracer, TracerProvider};

use super::*;

/// A collector that takes nothing until it is told to.
#[derive(Debug)]
struct Slow {
    asked: Sender<usize>,
    answer: Mutex<Receiver<()>>,
}

impl SpanExporter for Slow {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let _ = self.asked.send(batch.len());
        let _ = self.answer.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn spans_that_find_no_room_are_counted_to_the_last() {
    let (asked, was_asked) = channel();
    let (go_on, answer) = channel();
    let spans: Family<ResultLabel, Counter> = Family::default();
    let waiting: Arc<AtomicUsize> = Arc::default();
    let exporter = Counting {
        inner: Slow { asked, answer: Mutex::new(answer) },
        spans: spans.clone(),
        waiting: waiting.clone(),
        is_away: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(Duration::from_millis(1))
        .build();
    let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let slow = Duration::from_secs(1);
    let keeping = Keeping { inner, slow, spans: spans.clone(), waiting: waiting.clone() };
    let provider = SdkTracerProvider::builder().with_span_processor(keeping).build();
    let tracer = provider.tracer("test");
    let make = |count: usize| (0..count).for_each(|_| tracer.start("span").end());
    make(1);
    // The collector holds what it was given first; the queue takes what it has room for, and no more.
    let mut taken = was_asked.recv().unwrap();
    make(QUEUE_MAX + 37 + taken - 1);
    let dropped = |result| spans.get_or_create(&ResultLabel { result }).get();
    assert_eq!(dropped("dropped"), 37 + taken as u64 - 1);
    drop(go_on);
    provider.shutdown_with_timeout(Duration::from_secs(30)).unwrap();
    taken += was_asked.try_iter().sum::<usize>();
    assert_eq!((taken, waiting.load(Ordering::Relaxed)), (QUEUE_MAX + 1, 0));
    assert_eq!(dropped("exported"), taken as u64);
}
