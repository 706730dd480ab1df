//! Registries, with what opens them: ECR's own tokens for ECR, what `docker login` left for the others.

use std::path::PathBuf;
use std::sync::Arc;

use codes::Result;
use ecr::{Ecr, Host};
use kernel::Clock;
use oci::Reference;
use oci::credentials::{Credentials, Grant, Login};
use oci::docker;
use oci::registry::{Access, Notice, Notices, Options, Registry, Repository};

use super::{failed, subject};
use crate::context::Context;
use crate::human;

/// Where blobs and manifests of ECR are found instead, on this machine: beside a stand-in of its API, which
/// `AWS_ENDPOINT_URL_ECR` names.
const STAND_IN: &str = "RTC_ECR_STAND_IN";

/// The repository of a reference, opened.
pub fn repository(reference: &Reference, access: Access, context: &Context) -> Result<Repository> {
    let credentials: Arc<dyn Credentials> = match reference.registry().parse::<Host>() {
        Ok(host) => Arc::new(Tokens {
            place: aws::Place { region: Some(host.region.clone()), ..subject::place(context) },
            profiles: subject::profiles(context),
            host,
            clock: context.clock.clone(),
        }),
        Err(_) => Arc::new(docker::Files::new(files(context))),
    };
    let options = options(reference.registry(), context);
    let registry = Registry::new(reference.registry(), credentials, options).map_err(failed::of_oci)?;
    registry.repository(reference.repository(), access).map_err(failed::of_oci)
}

/// What is asked for again, or is not answered for long, is said.
fn options(host: &str, context: &Context) -> Options {
    let (progress, name) = (context.progress.clone(), host.to_owned());
    let notices = Notices::new(move |notice| match notice {
        Notice::Silent { what, waited } => {
            progress.say(format!("{name}: no answer to {what} for {}", human::duration(waited)));
        }
        Notice::Again { what, retry } => {
            progress.say(format!(
                "{name}: {what} again in {}: {}",
                human::duration(retry.wait),
                retry.reason
            ));
        }
    });
    let stand_in = context.config.variable(STAND_IN).filter(|_| host.parse::<Host>().is_ok());
    Options { notices, stand_in: stand_in.map(str::to_owned), ..Options::default() }
}

/// ECR's own API for a reference; `None` where the registry is another.
pub async fn ecr(reference: &Reference, context: &Context) -> Result<Option<Ecr>> {
    let Ok(host) = reference.registry().parse::<Host>() else { return Ok(None) };
    let place = aws::Place { region: Some(host.region.clone()), ..subject::place(context) };
    let config = subject::configure(&place, context).await.map_err(failed::of_aws)?;
    Ok(Some(Ecr::new(&config, Some(host.account))))
}

/// Where programs of this kind leave what they were given at a login.
fn files(context: &Context) -> Vec<PathBuf> {
    let variable = |name: &str| context.config.variable(name).map(PathBuf::from);
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    [variable("REGISTRY_AUTH_FILE"), runtime, docker.map(|folder| folder.join("config.json"))]
        .into_iter()
        .flatten()
        .collect()
}

/// Tokens of ECR. The registry asks for one when it needs it, and never twice at the same time.
struct Tokens {
    place: aws::Place,
    profiles: Option<PathBuf>,
    host: Host,
    clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Credentials for Tokens {
    async fn login(&self, registry: &str) -> oci::Result<Grant> {
        let failed = |error: aws::Error| match error.is_passing() {
            true => oci::Error::Unavailable {
                registry: registry.to_owned(),
                what: "a token of ECR".to_owned(),
                attempts: 1,
                reason: error.to_string(),
            },
            false => oci::Error::Credentials { registry: registry.to_owned(), reason: error.to_string() },
        };
        let config = aws::configure_from(&self.place, self.profiles.as_deref()).await.map_err(failed)?;
        let token = Ecr::new(&config, Some(self.host.account.clone())).token().await.map_err(failed)?;
        let ready = token.header().trim_start_matches("Basic ").to_owned();
        Ok(Grant { login: Login::Ready(ready), valid_for: Some(token.expires_at.since(self.clock.now())) })
    }
}
