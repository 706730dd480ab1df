//! Descriptions in every shape that they can take: what tests and validators go through.
//!
//! Invariant: each can be meant.

use crate::Description;
use crate::description::{
    Canary, Certificate, Entry, Files, IdentityKind, Mesh, Needs, Provisioning, Resources, Scaling, Scheme,
    Target,
};

/// A small environment: one replica of most, no mesh, an own load balancer.
pub const DEV: &str = include_str!("../examples/dev.toml");
/// A large one: as Terraform's `envs/prod` makes it, with mesh, files and logs.
pub const PROD: &str = include_str!("../examples/prod.toml");
/// The rules that are checked in, by file.
const RULES: [(&str, &str); 3] = [
    ("alerts", include_str!("../../../dashboards/prometheus/alerts.rules.yml")),
    ("recording", include_str!("../../../dashboards/prometheus/recording.rules.yml")),
    ("slo", include_str!("../../../dashboards/prometheus/slo.rules.yml")),
];
/// Another release than that of the two.
pub const OTHER_IMAGE: &str =
    "registry.example.com/rtc/rtcd@sha256:0000000000000000000000000000000000000000000000000000000000000001";

/// [`DEV`].
pub fn dev() -> Result<Description, toml::de::Error> {
    toml::from_str(DEV)
}

/// [`PROD`], with the rules that are checked in.
pub fn prod() -> Result<Description, toml::de::Error> {
    let mut description: Description = toml::from_str(PROD)?;
    let rules = RULES.map(|(file, text)| (file.to_owned(), text.to_owned()));
    if let Some(monitoring) = &mut description.monitoring {
        monitoring.rules.extend(rules);
    }
    Ok(description)
}

/// The same behind the Gateway API.
pub fn gateway_api(
    mut description: Description,
    certificate: Certificate,
    pods_in: Option<&str>,
) -> Description {
    description.entry = Entry::GatewayApi {
        target: "gateway".to_owned(),
        hosts: vec!["shop.example.com".to_owned(), "api.example.com".to_owned()],
        class: if pods_in.is_some() { "istio" } else { "alb" }.to_owned(),
        certificate,
        scheme: Scheme::Internal,
        pods_in: pods_in.map(str::to_owned),
    };
    description
}

/// The same with another release beside it.
pub fn with_canary(mut description: Description) -> Description {
    let targets = ["gateway", "users"].map(str::to_owned).to_vec();
    let image = OTHER_IMAGE.to_owned();
    description.canary = Some(Canary { image, weight: 10, replicas: 1, targets });
    description
}

/// The same with an assistant: its load is spiky and its work is cheap to share, so it grows early.
pub fn with_assistant(mut description: Description) -> Description {
    let scaling = Scaling { min: 1, max: 10, cpu_percent: Some(15), ..Scaling::default() };
    let resources = Resources { cpu: "200m".to_owned(), memory: "300Mi".to_owned(), cpu_limit: None };
    let needs = Needs { database: true, bus: true, upstreams: vec!["users".to_owned()], ..Needs::default() };
    let target = Target { scaling: Some(scaling), resources, needs, ..Target::default() };
    description.targets.insert("assistant".to_owned(), target);
    if let Some(gateway) = description.targets.get_mut("gateway") {
        gateway.needs.upstreams.push("assistant".to_owned());
    }
    description
}

/// What the chart that is checked in is made of: prod with names of its own.
pub fn charted() -> Result<Description, toml::de::Error> {
    let mut description = prod()?;
    description.entry = Entry::Alb {
        target: "gateway".to_owned(),
        hosts: vec!["shop.prod.example.com".to_owned()],
        certificate_arn: "arn:aws:acm:ap-northeast-2:111122223333:certificate/a".to_owned(),
        scheme: Scheme::InternetFacing,
    };
    Ok(description)
}

/// The same shape with everything changed that is a value of the chart.
pub fn altered(mut description: Description) -> Description {
    description.image = OTHER_IMAGE.replace("0001", "0002");
    description.mesh = match description.mesh {
        Some(_) => None,
        None => Some(Mesh { revision: None, namespace: "istio-system".to_owned(), attempts: 2 }),
    };
    for target in description.targets.values_mut() {
        target.replicas = target.replicas.map(|replicas| replicas + 1);
        if let Some(scaling) = &mut target.scaling {
            (scaling.min, scaling.max) = (scaling.min + 1, scaling.max + 5);
        }
        let cpu_limit = target.resources.cpu_limit.is_none().then(|| "8".to_owned());
        target.resources = Resources { cpu: "750m".to_owned(), memory: "768Mi".to_owned(), cpu_limit };
    }
    if let Entry::Alb { hosts, .. } | Entry::GatewayApi { hosts, .. } = &mut description.entry {
        *hosts = ["a", "b", "c"].map(|name| format!("{name}.example.org")).to_vec();
    }
    description
}

/// Every shape, by name.
pub fn every() -> Result<Vec<(&'static str, Description)>, toml::de::Error> {
    let arn = || Certificate::Arn("arn:aws:acm:ap-northeast-2:111122223333:certificate/a".to_owned());
    let mut in_mesh = dev()?;
    let (revision, namespace) = (Some("1-26".to_owned()), "istio-system".to_owned());
    in_mesh.mesh = Some(Mesh { revision, namespace, attempts: 1 });
    let mut bare = prod()?;
    bare.mesh = None;
    let mut shared = dev()?;
    let (file_system_id, size) = ("fs-0a".to_owned(), "1Gi".to_owned());
    shared.files = Some(Files { file_system_id, size, provisioning: Provisioning::Static });
    if let Some(shop) = shared.targets.get_mut("shop") {
        shop.needs.files = Some("/mnt/aws".to_owned());
    }
    let mut annotated = prod()?;
    annotated.identity.kind = IdentityKind::Irsa;
    let secret = Certificate::Secret("tls".to_owned());
    Ok(vec![
        ("charted", charted()?),
        ("dev", dev()?),
        ("dev-mesh", in_mesh),
        ("dev-gateway", gateway_api(dev()?, arn(), None)),
        ("dev-volume", shared),
        ("dev-canary", with_canary(dev()?)),
        ("prod", prod()?),
        ("prod-assistant", with_assistant(prod()?)),
        ("prod-bare", bare),
        ("prod-mesh-gateway", gateway_api(prod()?, secret, Some("istio-ingress"))),
        ("prod-canary", with_canary(prod()?)),
        ("prod-annotated", annotated),
    ])
}
