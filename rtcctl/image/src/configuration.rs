//! The configuration and the annotations of an image, with what its base says and is not overridden.

use std::collections::BTreeMap;

use oci::document::{Annotations, Execution, History};
use oci::{Image, Platform};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::root::Account;
use crate::settings::{Base, Concern, Settings};
use crate::tree::Owner;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const BUILT_BY: &str = "rtcctl image build";
const PREFIX: &str = "org.opencontainers.image";

/// RFC 3339, in UTC.
///
/// Errors: [`Error::Time`].
pub fn time(epoch: u64) -> Result<String> {
    let time = i64::try_from(epoch).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    time.map(|time| time.to_string()).ok_or(Error::Time { epoch })
}

/// The configuration without the layers, which come with [`add_layer`]. `base` is that of the base, of which it keeps
/// everything that the settings do not say.
///
/// Errors: [`Error::Time`], [`Error::Port`].
pub fn image(settings: &Settings, platform: &Platform, base: Option<&Image>) -> Result<Image> {
    let mut image = base.cloned().unwrap_or_else(|| Image::new(platform.clone()));
    image.created = Some(time(settings.epoch)?);
    image.config = Some(execution(settings, base.and_then(|base| base.config.clone()))?);
    Ok(image)
}

fn execution(settings: &Settings, base: Option<Execution>) -> Result<Execution> {
    let based = base.is_some();
    let mut run = base.unwrap_or_default();
    let mut environment = run.env.take().unwrap_or_default();
    if !based {
        environment.push(format!("PATH={PATH}"));
    }
    for (name, value) in &settings.environment {
        let assignment = format!("{name}={value}");
        match environment.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = assignment,
            None => environment.push(assignment),
        }
    }
    run.env = Some(environment).filter(|environment| !environment.is_empty());
    let account = settings.account.clone().or_else(|| (!based).then(Account::default));
    if let Some(account) = account {
        // Numbers, so that a cluster can tell that it is not root without reading the image.
        run.user = Some(format!("{}:{}", account.uid, account.gid));
    }
    let ports = settings.ports.iter().map(|port| exposed(port)).collect::<Result<Vec<_>>>()?;
    run.exposed_ports = with(run.exposed_ports, ports);
    run.volumes = with(run.volumes, settings.volumes.clone());
    run.entrypoint = Some(settings.entrypoint.clone().unwrap_or_else(|| vec![settings.target()]));
    // Arguments of the base were for the program of the base.
    run.cmd = settings.cmd.clone();
    run.working_dir = settings.workdir.clone().or(run.working_dir);
    run.stop_signal = settings.stop_signal.clone().or(run.stop_signal);
    let mut labels = run.labels.take().unwrap_or_default();
    labels.extend(settings.labels.clone());
    run.labels = Some(labels).filter(|labels| !labels.is_empty());
    Ok(run)
}

type Set = Option<BTreeMap<String, Map<String, Value>>>;

fn with(set: Set, names: Vec<String>) -> Set {
    let mut set = set.unwrap_or_default();
    set.extend(names.into_iter().map(|name| (name, Map::new())));
    Some(set).filter(|set| !set.is_empty())
}

/// A port with its protocol.
fn exposed(port: &str) -> Result<String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let wrong = || Error::Port { port: port.to_owned() };
    match (number.parse::<u16>(), protocol) {
        (Ok(1..), "tcp" | "udp" | "sctp") => Ok(format!("{number}/{protocol}")),
        _ => Err(wrong()),
    }
}

/// A layer on top. Where the base does not tell the history of its layers, none is told of those above.
pub fn add_layer(image: &mut Image, concern: Concern, diff_id: oci::Digest) {
    let told = image.history.iter().filter(|step| step.empty_layer != Some(true)).count();
    if told == image.rootfs.diff_ids.len() {
        image.history.push(History {
            created: image.created.clone(),
            created_by: Some(BUILT_BY.to_owned()),
            comment: Some(concern.to_string()),
            ..History::default()
        });
    }
    image.rootfs.diff_ids.push(diff_id);
}

/// Where an image comes from.
///
/// Errors: [`Error::Time`].
pub fn annotations(settings: &Settings, base: Option<&Base>) -> Result<Annotations> {
    let mut annotations: Annotations = settings.annotations.clone();
    // Of the files it is one time, and whoever builds may know when the source was written.
    if !annotations.contains_key("org.opencontainers.image.created") {
        annotations.insert(format!("{PREFIX}.created"), time(settings.epoch)?);
    }
    let mut say = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            annotations.insert(format!("{PREFIX}.{key}"), value);
        }
    };
    say("title", Some(settings.name.clone()));
    say("source", settings.source.clone());
    say("revision", settings.revision.clone());
    say("version", settings.version.clone());
    say("base.name", base.map(|base| base.name.clone()));
    say("base.digest", base.map(|base| base.manifest.digest.to_string()));
    Ok(annotations)
}

/// Who owns folders that the program may write, on a base.
///
/// Errors: [`Error::Base`] if only the base's own `/etc/passwd` knows its user.
pub fn owner_on(settings: &Settings, base: &Base, image: &Image) -> Result<Owner> {
    if let Some(account) = &settings.account {
        return Ok(account.owner());
    }
    let user = image.config.as_ref().and_then(|config| config.user.as_deref()).unwrap_or_default();
    let mut numbers = user.split(':').map(|number| number.parse::<u32>().ok());
    match (user, numbers.next().flatten(), numbers.next()) {
        ("" | "root", ..) => Ok(Owner { uid: 0, gid: 0 }),
        (_, Some(uid), None) => Ok(Owner { uid: uid.into(), gid: 0 }),
        (_, Some(uid), Some(Some(gid))) => Ok(Owner { uid: uid.into(), gid: gid.into() }),
        _ => Err(Error::Base {
            base: base.name.clone(),
            reason: format!("its user {user} is no number, and folders must be given to one: name a user"),
        }),
    }
}
