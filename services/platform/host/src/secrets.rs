//! Secrets by name: files of the data directory that the embedded profile makes itself, or references elsewhere.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Profile, StartError};

/// Where secrets come from.
#[derive(Debug, Clone)]
pub struct Secrets {
    directory: Option<PathBuf>,
    profile: Profile,
}

impl Secrets {
    /// `directory` holds a file a secret. `None`: every secret is made afresh and forgotten (tests).
    pub fn new(directory: Option<PathBuf>, profile: Profile) -> Self {
        Self { directory, profile }
    }

    /// Reads the secret. The embedded profile makes it where it is not there yet, readable by its owner alone.
    pub fn get(&self, name: &str) -> Result<String, StartError> {
        let failed = |reason: String| StartError::Secret { name: name.to_owned(), reason };
        let Some(directory) = &self.directory else { return random_secret().map_err(failed) };
        let path = directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Err(failed(format!("{} is empty", path.display()))),
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && self.profile == Profile::Embedded =>
            {
                let secret = random_secret().map_err(failed)?;
                self.write(name, &secret)?;
                Ok(secret)
            }
            Err(error) => Err(failed(format!("{}: {error}", path.display()))),
        }
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
}

fn random_secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
