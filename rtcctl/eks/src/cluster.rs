//! A cluster as EKS describes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::{Eks, Error, Kind, Result};

/// Where the API of a cluster is, and what it proves itself with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub name: String,
    pub arn: String,
    pub region: String,
    /// `https://…`
    pub url: String,
    /// The certificate that signs the API's own, in PEM.
    pub ca_pem: String,
    /// Of Kubernetes: `1.33`.
    pub version: String,
    /// As EKS calls it: `ACTIVE`.
    pub status: String,
}

impl Endpoint {
    /// The certificate as a kubeconfig has it.
    pub fn ca_base64(&self) -> String {
        STANDARD.encode(&self.ca_pem)
    }
}

impl Eks {
    /// Where the API of a cluster is.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is no such cluster, [`Kind::Invalid`] where it has no API yet.
    pub async fn describe(&self, name: &str) -> Result<Endpoint> {
        const OPERATION: &str = "eks:DescribeCluster";
        crate::sign_in::check_name(name)?;
        let answer = self.eks.describe_cluster().name(name).send().await;
        let answer = answer.map_err(|error| Error::of(OPERATION, error))?;
        let found =
            answer.cluster.ok_or_else(|| Error::new(Kind::Fault, OPERATION, "the answer has no cluster"))?;
        let status = found.status.as_ref().map_or("unknown", |status| status.as_str()).to_owned();
        let ca = found.certificate_authority.and_then(|ca| ca.data);
        let (Some(url), Some(ca)) = (found.endpoint, ca) else {
            let reason = format!("the cluster {name} has no API yet: it is {status}");
            return Err(Error::new(Kind::Invalid, OPERATION, reason));
        };
        let ca_pem = STANDARD.decode(ca.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let ca_pem = ca_pem.ok_or_else(|| {
            Error::new(Kind::Fault, OPERATION, "the certificate of the cluster is no base64 of a PEM text")
        })?;
        Ok(Endpoint {
            name: found.name.unwrap_or_else(|| name.to_owned()),
            arn: found.arn.unwrap_or_default(),
            region: self.region.clone(),
            url,
            ca_pem,
            version: found.version.unwrap_or_default(),
            status,
        })
    }
}
