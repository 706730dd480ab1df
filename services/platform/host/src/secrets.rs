//! Secrets by name: where the configuration says, or files of the data directory, which the embedded profile makes itself.
//!
//! Invariants:
//! - production makes no secret, and takes none that others can read or that is too short;
//! - a secret has one value a line: the first is used, all are accepted, so that it can be rotated while processes run;
//! - one that cannot be read again stays as it was.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret_ref::{Provider, warning};
use crate::{Config, Profile, SecretRef, StartError};

/// How many characters production asks of those that are keys or open doors.
const LENGTH_MIN: [(&str, usize); 6] = [
    ("cursor_key", 32),
    ("vault_key", 32),
    ("vault_index_key", 32),
    ("admin_token", 32),
    ("service_token", 32),
    ("admin_password", 12),
];

type Apply = Box<dyn Fn(&[String]) -> Result<(), String> + Send + Sync>;

struct Follower {
    name: String,
    seen: [u8; 32],
    /// Said once, not at every look.
    fault: Option<String>,
    apply: Apply,
}

/// Where secrets come from. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    directory: Option<PathBuf>,
    profile: Profile,
    references: Arc<BTreeMap<String, SecretRef>>,
    followers: Arc<Mutex<Vec<Follower>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("directory", &self.directory).field("profile", &self.profile).finish()
    }
}

/// Tokens that open a door, as they are now. Clones see the same.
#[derive(Clone)]
pub struct Tokens(Arc<RwLock<Arc<[String]>>>);

impl Tokens {
    /// Whether `shown` is one of them; takes as long for every one of the same length.
    pub fn accept(&self, shown: &[u8]) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_same = |token: &String| {
            aws_lc_rs::constant_time::verify_slices_are_equal(token.as_bytes(), shown).is_ok()
        };
        tokens.iter().filter(|token| is_same(token)).count() > 0
    }
}

impl Secrets {
    /// `directory` holds a file a secret. `None`: every secret is made afresh and forgotten (tests).
    pub fn new(directory: Option<PathBuf>, profile: Profile) -> Self {
        Self { directory, profile, references: Arc::default(), followers: Arc::default() }
    }

    /// Where the configuration says, otherwise in `secrets` of the data directory.
    pub fn of(config: &Config) -> Self {
        let references = Arc::new(config.secrets.clone());
        Self { references, ..Self::new(Some(config.data.join("secrets")), config.profile) }
    }

    /// The same, followed by nobody: for whoever follows and looks something up meanwhile.
    pub(crate) fn detached(&self) -> Self {
        Self { followers: Arc::default(), ..self.clone() }
    }

    fn reference(&self, name: &str) -> Option<SecretRef> {
        let file = || self.directory.as_ref().map(|directory| SecretRef::File(directory.join(name)));
        self.references.get(name).cloned().or_else(file)
    }

    /// Reads the secret. The embedded profile makes it where it is not there yet, readable by its owner alone.
    pub fn get(&self, name: &str) -> Result<String, StartError> {
        Ok(self.all(name)?.swap_remove(0))
    }

    /// All its values: the first is the one in use, the others are still good.
    pub fn all(&self, name: &str) -> Result<Vec<String>, StartError> {
        let failed = |reason: String| StartError::Secret { name: name.to_owned(), reason };
        let Some(reference) = self.reference(name) else {
            return Ok(vec![random_secret().map_err(failed)?]);
        };
        if self.makes(name) && self.is_missing(&reference) {
            let secret = random_secret().map_err(failed)?;
            self.write(name, &secret)?;
            return Ok(vec![secret]);
        }
        if self.profile == Profile::Embedded
            && let Some(problem) = warning(&reference)
        {
            tracing::warn!(secret = name, "{problem}");
        }
        self.read(name, &reference).map_err(failed)
    }

    /// The secret, where there is one. None is made.
    pub fn find(&self, name: &str) -> Result<Option<String>, StartError> {
        match self.reference(name) {
            None => Ok(None),
            Some(reference) if !self.references.contains_key(name) && self.is_missing(&reference) => Ok(None),
            Some(_) => self.get(name).map(Some),
        }
    }

    /// Reads the secret again at every call.
    pub fn provider(&self, name: &str) -> Provider {
        let (secrets, name) = (self.clone(), name.to_owned());
        Arc::new(move || secrets.get(&name).map_err(|error| error.to_string()))
    }

    /// The secret as tokens that follow its rotation.
    pub fn tokens(&self, name: &str) -> Result<Tokens, StartError> {
        let tokens = Tokens(Arc::new(RwLock::new(Arc::from([]))));
        let handle = tokens.clone();
        self.watch(name, move |values| {
            *handle.0.write().unwrap_or_else(PoisonError::into_inner) = values.to_vec().into();
            Ok(())
        })?;
        Ok(tokens)
    }

    /// Gives the values to `apply`, now and whenever they have [changed](Self::refresh). What it refuses now, refuses the
    /// start; later it stays as it was.
    pub fn watch(
        &self,
        name: &str,
        apply: impl Fn(&[String]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Result<(), StartError> {
        let values = self.all(name)?;
        apply(&values).map_err(|reason| StartError::Secret { name: name.to_owned(), reason })?;
        self.follow(name, &values, apply);
        Ok(())
    }

    /// [`watch`](Self::watch) for whoever has the `values` already.
    pub(crate) fn follow(
        &self,
        name: &str,
        values: &[String],
        apply: impl Fn(&[String]) -> Result<(), String> + Send + Sync + 'static,
    ) {
        if self.reference(name).is_some() {
            let (name, seen) = (name.to_owned(), fingerprint(values));
            self.lock().push(Follower { name, seen, fault: None, apply: Box::new(apply) });
        }
    }

    /// Looks at what is watched, and answers the names of those that have changed.
    pub fn refresh(&self) -> Vec<String> {
        let mut changed = Vec::new();
        for follower in self.lock().iter_mut() {
            let Some(reference) = self.reference(&follower.name) else { continue };
            let looked = self.read(&follower.name, &reference).and_then(|values| {
                let seen = fingerprint(&values);
                if seen == follower.seen {
                    return Ok(None);
                }
                (follower.apply)(&values)?;
                follower.seen = seen;
                Ok(Some(values.len()))
            });
            match looked {
                Ok(Some(values)) => {
                    tracing::info!(secret = follower.name, values, "a secret has changed and is in use");
                    follower.fault = None;
                    changed.push(follower.name.clone());
                }
                Ok(None) => follower.fault = None,
                Err(fault) if follower.fault.as_ref() != Some(&fault) => {
                    tracing::error!(secret = follower.name, %fault, "a secret cannot be read again and stays as it was");
                    follower.fault = Some(fault);
                }
                Err(_) => {}
            }
        }
        changed
    }

    fn read(&self, name: &str, reference: &SecretRef) -> Result<Vec<String>, String> {
        let values = reference.read(self.profile)?;
        let min = LENGTH_MIN.iter().find(|(known, _)| *known == name).map_or(0, |(_, min)| *min);
        if self.profile == Profile::Production
            && let Some(short) = values.iter().find(|value| value.len() < min)
        {
            return Err(format!(
                "{reference}: {} characters are too short, {min} are the least",
                short.len()
            ));
        }
        Ok(values)
    }

    fn makes(&self, name: &str) -> bool {
        self.profile == Profile::Embedded && !self.references.contains_key(name)
    }

    fn is_missing(&self, reference: &SecretRef) -> bool {
        let SecretRef::File(path) = reference else { return false };
        std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    fn write(&self, name: &str, secret: &str) -> Result<(), StartError> {
        let failed =
            |error: std::io::Error| StartError::Secret { name: name.to_owned(), reason: error.to_string() };
        let Some(directory) = &self.directory else { return Ok(()) };
        std::fs::create_dir_all(directory).map_err(failed)?;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        // Written aside and renamed: a crash leaves either no secret or a whole one.
        let aside = directory.join(format!(".{name}.new"));
        let _ = std::fs::remove_file(&aside);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)
            .map_err(failed)?;
        file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&aside, directory.join(name)).map_err(failed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Follower>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fingerprint(values: &[String]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest::digest(&digest::SHA256, values.join("\n").as_bytes()).as_ref());
    fingerprint
}

fn random_secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
