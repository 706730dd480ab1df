//! What went wrong between us and Jenkins, each kind by itself.

use crate::Problem;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{text:?} is no name of a job: {reason}")]
    Name { text: String, reason: &'static str },
    /// A file that describes a job is wrong.
    #[error("{file}: {reason}")]
    Described { file: String, reason: String },
    /// No connection, or it broke off; `is_timeout` where it took too long.
    #[error("{url} does not answer")]
    Unreachable {
        url: String,
        is_timeout: bool,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is asked under another address than its own, as http for https.
    #[error("{url} is at {to}")]
    Moved { url: String, to: String },
    /// Somebody was faster.
    #[error("{job} was changed by somebody else since it was looked at")]
    ChangedMeanwhile { job: String },
    /// Jenkins dropped something without a word, most often for want of a plug-in.
    #[error("{job} was written, and Jenkins did not take over {at}")]
    NotTaken { job: String, at: String },
    /// 401, or a redirect to a login page.
    #[error("{url} does not know us")]
    Unauthenticated { url: String },
    /// 403, with what Jenkins says of it.
    #[error("{url} does not let us{}", tail(reason))]
    Denied { url: String, reason: String },
    #[error("there is no {what}")]
    NotFound { what: String },
    /// 409: it is disabled, or is a folder.
    #[error("{job} cannot be built now: it is disabled, or is no job")]
    NotBuildable { job: String },
    /// 302 to where it came from: Jenkins is about to shut down, or an extension forbids it.
    #[error("{job} was not put into the queue: Jenkins refused it")]
    Refused { job: String },
    #[error("{} of the parameters of {job} {} wrong", problems.len(), if problems.len() == 1 { "is" } else { "are" })]
    Parameters { job: String, problems: Vec<Problem> },
    /// Something else answers: a proxy, another program.
    #[error("{url} is no Jenkins: it answers {first_line:?}")]
    NotJenkins { url: String, first_line: String },
    /// Any other answer.
    #[error("{url} answers {status}{}", tail(reason))]
    Answer { url: String, status: u16, reason: String },
    #[error("the answer of {url} is not understood: {reason}")]
    Unreadable { url: String, reason: String },
}

impl Error {
    /// Whether the same question may be asked again.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Answer { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

fn tail(reason: &str) -> String {
    match reason.is_empty() {
        true => String::new(),
        false => format!(": {reason}"),
    }
}
