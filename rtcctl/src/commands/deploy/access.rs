//! The cluster that is meant, with what opens it: a context of a kubeconfig, or EKS with tokens of our own making.
//!
//! Precedence: `--context` and `--kubeconfig`, the environment's `context`, its `cluster` (EKS), the cluster of its
//! infrastructure. Invariant: the current context of a kubeconfig is never taken because nothing was said: it is
//! whatever somebody looked at last. A file alone says where to look.

use std::path::PathBuf;

use ::deploy::apply;
use codes::{Code, Error, Result};
use kubernetes::{Access, Cluster, Error as Kube};
use settings::Origin;

use crate::commands::cluster::access as eks_access;
use crate::context::Context;

/// Where a platform is deployed when nothing says otherwise.
const NAMESPACE: &str = "rtc";

/// Flags of every command that speaks to a cluster. They are settings: [`settings`] decides which holds.
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

/// Opens the cluster of the environment. Of it nothing is asked yet; of AWS and Terraform, where only they know it.
pub async fn cluster(context: &Context) -> Result<Cluster> {
    Cluster::connect(meant(context).await?).await.map_err(failed)
}

async fn meant(context: &Context) -> Result<Access> {
    let config = &context.config;
    let (kubeconfig, named) = (config.path_of("kubeconfig"), config.text("context").map(str::to_owned));
    if named.is_some() {
        return Ok(Access::Kubeconfig { path: kubeconfig.or_else(|| usual_file(context)), context: named });
    }
    let is_named_otherwise = config.text("cluster").is_some() || config.path_of("terraform").is_some();
    match (kubeconfig, &config.get("kubeconfig").origin) {
        // A file of a flag is looked at as it is where nothing else says which cluster is meant.
        (Some(path), Origin::Flag(_)) if !is_named_otherwise => {
            Ok(Access::Kubeconfig { path: Some(path), context: None })
        }
        // What an operator has for every environment says where to look, and nothing of this one.
        (None, _) | (Some(_), Origin::User(..)) if is_named_otherwise => way_of_eks(context).await,
        (Some(path), origin) => {
            let message = format!("{} (from {origin}) says where to look, not which cluster", path.display());
            Err(Error::new(&codes::KUB001, message)
                .with_hint("name it: --context NAME, or context for the environment in rtc.toml"))
        }
        (None, _) => {
            let message = format!("the environment {} names no cluster", config.env());
            Err(Error::new(&codes::KUB001, message)
                .with_hint("name it: --context NAME, or context or cluster for the environment in rtc.toml"))
        }
    }
}

/// The same for what changes it: a platform of this machine has no cluster, whatever a kubeconfig says.
pub async fn changeable(context: &Context) -> Result<Cluster> {
    if context.config.text("kind") == Some("embedded") {
        let message =
            format!("the environment {} is embedded: it is deployed on no cluster", context.config.env());
        return Err(Error::new(&codes::KUB001, message).with_hint("name another one: --env NAME"));
    }
    cluster(context).await
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

/// The cluster of EKS that the environment has, for questions to AWS about it; `None` where it has none.
pub async fn of_eks(context: &Context) -> Option<eks_access::Target> {
    let config = &context.config;
    let is_of_infrastructure = config.text("context").is_none() && config.path_of("terraform").is_some();
    match config.text("cluster").is_some() || is_of_infrastructure {
        true => eks_access::target(context).await.ok(),
        false => None,
    }
}

async fn way_of_eks(context: &Context) -> Result<Access> {
    let target = eks_access::target(context).await?;
    match target.way(context).await {
        Ok(way) => Ok(way),
        Err(error) => Err(target.told(error, context).await),
    }
}

/// The namespace of the platform: said for this command or as a setting, otherwise as rtc.toml describes the release.
pub fn namespace(context: &Context) -> String {
    let config = &context.config;
    let described = [config.deploy_in.get(config.env()), config.deploy.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|entry| entry.table.get("namespace")?.as_str());
    config.text("namespace").or(described).unwrap_or(NAMESPACE).to_owned()
}

/// What the API said, masked and under a code.
pub fn failed(error: Kube) -> Error {
    let code = code_of(&error);
    Error::new(code, apply::said(&error)).with_hint(error.hint())
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
