//! Several questions at once, and what may not be asked.

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::{Error, Result};

/// So many questions are open at a time: more, and AWS throttles an account of many clusters.
const AT_ONCE: usize = 8;

/// Asks about each; the answers are in the order of the questions, the refusals beside them.
pub async fn each<Q, A, F>(
    questions: impl IntoIterator<Item = Q>,
    ask: impl Fn(Q) -> F,
) -> (Vec<A>, Vec<Error>)
where
    F: Future<Output = Result<A>>,
{
    let asked = stream::iter(questions.into_iter().map(ask).collect::<Vec<_>>());
    let results: Vec<Result<A>> = asked.buffered(AT_ONCE).collect().await;
    let (mut answers, mut refused) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => refused.push(error),
        }
    }
    (answers, refused)
}

/// What is not seen is told once, however often it was refused.
pub fn told_once(missing: &mut Vec<Error>) {
    let mut kept: Vec<Error> = Vec::new();
    for error in missing.drain(..) {
        if !kept.iter().any(|one| one.operation == error.operation && one.kind == error.kind) {
            kept.push(error);
        }
    }
    *missing = kept;
}
