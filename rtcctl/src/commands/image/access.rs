//! Registries, with what opens them: ECR's own tokens for ECR, what `docker login` left for the others.

use std::path::PathBuf;
use std::sync::Arc;

use ecr::{Ecr, Host};
use kernel::Clock;
use oci::Reference;
use oci::credentials::{Credentials, Grant, Login};
use oci::docker;
use oci::registry::{Access, Options, Registry, Repository};

use super::{failed, subject};
use crate::context::Context;
use crate::error::Result;

/// The repository of a reference, opened.
pub fn repository(reference: &Reference, access: Access, context: &Context) -> Result<Repository> {
    let credentials: Arc<dyn Credentials> = match reference.registry().parse::<Host>() {
        Ok(host) => Arc::new(Tokens {
            place: aws::Place { region: Some(host.region.clone()), ..subject::place(context) },
            host,
            clock: context.clock.clone(),
        }),
        Err(_) => Arc::new(docker::Files::new(files(context))),
    };
    let registry =
        Registry::new(reference.registry(), credentials, Options::default()).map_err(failed::of_oci)?;
    registry.repository(reference.repository(), access).map_err(failed::of_oci)
}

/// ECR's own API for a reference; `None` where the registry is another.
pub async fn ecr(reference: &Reference, context: &Context) -> Result<Option<Ecr>> {
    let Ok(host) = reference.registry().parse::<Host>() else { return Ok(None) };
    let place = aws::Place { region: Some(host.region.clone()), ..subject::place(context) };
    let config = aws::configure(&place).await.map_err(failed::of_aws)?;
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
    host: Host,
    clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Credentials for Tokens {
    async fn login(&self, registry: &str) -> oci::Result<Grant> {
        let failed = |error: aws::Error| oci::Error::Credentials {
            registry: registry.to_owned(),
            reason: error.to_string(),
        };
        let config = aws::configure(&self.place).await.map_err(failed)?;
        let token = Ecr::new(&config, Some(self.host.account.clone())).token().await.map_err(failed)?;
        let ready = token.header().trim_start_matches("Basic ").to_owned();
        Ok(Grant { login: Login::Ready(ready), valid_for: Some(token.expires_at.since(self.clock.now())) })
    }
}
