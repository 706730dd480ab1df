//! The cluster that is meant, with what opens it: a context of a kubeconfig, or EKS with tokens of our own making.
//!
//! Precedence: `--context` and `--kubeconfig`, the environment's `context`, its `cluster` (EKS), the current context.

use std::path::PathBuf;
use std::sync::Arc;

use kubernetes::{Access, Cluster, Error as Kube, access::NoToken};

use crate::codes::{self, Code};
use crate::commands::image::subject;
use crate::context::Context;
use crate::error::{Error, Result};

/// Where a platform is deployed when nothing says otherwise.
const NAMESPACE: &str = "rtc";

/// Flags of every command that speaks to a cluster. They are settings: [`crate::config`] decides which holds.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the platform [default: rtc]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,
}

impl Args {
    /// The flags that were given, by the key of their setting.
    pub fn flags(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("context", self.context.clone()),
            ("kubeconfig", self.kubeconfig.as_ref().map(|path| path.display().to_string())),
            ("namespace", self.namespace.clone()),
        ]
    }
}

/// Opens the cluster of the environment. Nothing is asked of it yet.
pub async fn cluster(context: &Context) -> Result<Cluster> {
    let said = |key: &'static str| context.config.text(key).map(str::to_owned);
    let (kubeconfig, named) = (context.config.path_of("kubeconfig"), said("context"));
    let eks = said("cluster").filter(|_| kubeconfig.is_none() && named.is_none());
    let access = match eks {
        Some(name) => of_eks(&name, context).await?,
        None => Access::Kubeconfig { path: kubeconfig.or_else(|| usual_file(context)), context: named },
    };
    Cluster::connect(access).await.map_err(failed)
}

/// As every tool finds it, from this command's variables. Several files in one variable are left to be joined.
fn usual_file(context: &Context) -> Option<PathBuf> {
    let variable = |name: &str| context.config.variable(name).filter(|text| !text.is_empty());
    match variable("KUBECONFIG") {
        Some(text) if text.contains(':') => None,
        Some(text) => Some(PathBuf::from(text)),
        None => Some(PathBuf::from(variable("HOME")?).join(".kube/config")),
    }
}

async fn of_eks(name: &str, context: &Context) -> Result<Access> {
    let config = subject::configure(&subject::place(context), context).await.map_err(of_aws)?;
    let endpoint = eks::Eks::new(&config).describe(name).await.map_err(of_aws)?;
    let tokens = eks::Tokens::new(&config, name, context.clock.clone()).map_err(of_aws)?;
    Ok(Access::Endpoint {
        url: endpoint.url,
        ca_pem: Some(endpoint.ca_pem),
        tokens: Arc::new(Tokens(tokens)),
    })
}

/// The namespace of the platform.
pub fn namespace(context: &Context) -> String {
    context.config.text("namespace").unwrap_or(NAMESPACE).to_owned()
}

struct Tokens(eks::Tokens);

#[async_trait::async_trait]
impl kubernetes::Tokens for Tokens {
    async fn token(&self) -> std::result::Result<String, NoToken> {
        Ok(self.0.token().await?.value().to_owned())
    }

    async fn refused(&self, _token: &str) {
        self.0.forget().await;
    }
}

/// What the API said, under a code.
pub fn failed(error: Kube) -> Error {
    let code = code_of(&error);
    Error::new(code, error.to_string()).with_hint(error.hint())
}

/// The code of what the API said.
pub fn code_of(error: &Kube) -> &'static Code {
    match error {
        Kube::Kubeconfig { .. } => &codes::KUB001,
        Kube::NoToken { .. } | Kube::Unauthorized { .. } => &codes::KUB002,
        Kube::Forbidden { .. } => &codes::KUB003,
        Kube::NotFound { .. } => &codes::KUB004,
        Kube::UnknownKind { .. } => &codes::KUB005,
        Kube::Owned { .. } => &codes::KUB006,
        Kube::Changed { .. } | Kube::Exists { .. } => &codes::KUB007,
        Kube::Invalid { .. } => &codes::KUB008,
        Kube::Admission { .. } | Kube::Quota { .. } => &codes::KUB009,
        Kube::TooMany { .. } | Kube::Failing { .. } | Kube::Unreachable { .. } | Kube::TimedOut { .. } => {
            &codes::KUB010
        }
        Kube::Untrusted { .. } => &codes::KUB011,
        Kube::NotKubernetes { .. } => &codes::KUB012,
        Kube::Expired { .. } | Kube::Refused { .. } | Kube::Malformed { .. } | Kube::Unsendable(_) => {
            &codes::KUB013
        }
    }
}

fn of_aws(error: aws::Error) -> Error {
    use aws::Kind;
    let code = match error.kind {
        Kind::Unauthenticated | Kind::Denied => &codes::KUB002,
        Kind::NotFound => &codes::KUB004,
        Kind::Conflict => &codes::KUB007,
        Kind::Invalid => &codes::KUB001,
        Kind::Throttled | Kind::Unreachable | Kind::Fault => &codes::KUB010,
    };
    Error::new(code, "the cluster cannot be asked for at EKS").with_source(&error).with_hint(code.action)
}
