//! `redis://[user[:password]@]host[:port][/db]`, and `rediss://…[?ca=/path]`, which is TLS.
//!
//! Invariant: no error shows the password, wherever in the address it was written.

use std::path::PathBuf;

use kernel::percent::decoded;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use rustls::pki_types::ServerName;

use crate::OpenError;

pub(crate) struct Address {
    pub host: String,
    pub port: u16,
    /// User, password and number of the database.
    pub settings: RedisConnectionInfo,
    /// `None`: in the open.
    pub tls: Option<Trust>,
}

/// Who the server has to be.
#[derive(Clone)]
pub(crate) struct Trust {
    pub name: ServerName<'static>,
    /// A file of authorities beside the machine's own.
    pub ca: Option<PathBuf>,
}

fn wrong(problem: impl Into<String>) -> OpenError {
    OpenError::Url(problem.into())
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let (rest, is_encrypted) = match (url.strip_prefix("redis://"), url.strip_prefix("rediss://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(wrong("it does not begin with redis:// or rediss://")),
        };
        if rest.contains('#') {
            return Err(wrong("nothing follows a #: a certificate is always verified"));
        }
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut ca = None;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("ca", path)) if !path.is_empty() => {
                    ca = Some(PathBuf::from(decoded(path).map_err(|error| wrong(error.to_string()))?))
                }
                // Not repeated: what follows a ? that was not meant as one may be the end of a password.
                _ => return Err(wrong("ca=/path is the only option that there is")),
            }
        }
        if ca.is_some() && !is_encrypted {
            return Err(wrong("ca goes with rediss://, and redis:// is in the open"));
        }
        let found = format!("redis://{place}").into_connection_info();
        let found = found.map_err(|error| wrong(error.to_string()))?;
        let ConnectionAddr::Tcp(host, port) = found.addr() else { return Err(wrong("there is no host")) };
        let tls = match is_encrypted {
            true => Some(Trust {
                name: ServerName::try_from(host.clone())
                    .map_err(|_| wrong("the host is no name that a certificate can have"))?,
                ca,
            }),
            false => None,
        };
        Ok(Self { host: host.clone(), port: *port, settings: found.redis_settings().clone(), tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let address =
            Address::parse("rediss://shop:p%40ss@cache.example:7000/3?ca=/etc/my%20ca.pem").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("cache.example", 7000));
        assert_eq!(address.settings.username(), Some("shop"));
        assert_eq!((address.settings.password(), address.settings.db()), (Some("p@ss"), 3));
        let trust = address.tls.unwrap();
        assert_eq!(trust.name.to_str(), "cache.example");
        assert_eq!(trust.ca, Some(PathBuf::from("/etc/my ca.pem")));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let address = Address::parse("redis://[::1]").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.settings.db()), ("::1", 6379, 0));
        assert!(address.tls.is_none() && address.settings.password().is_none());
        let trust = Address::parse("rediss://[::1]").unwrap().tls.unwrap();
        assert!(matches!(trust.name, ServerName::IpAddress(_)) && trust.ca.is_none());
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong_and_never_the_password() {
        for (url, said) in [
            ("http://u:5ecret@h", "redis://"),
            ("rediss://u:5ecret@", "did not parse"),
            ("rediss://u:5ecret@h/x", "database number"),
            ("rediss://u:5ecret@h:99999", "did not parse"),
            ("rediss://u:5ecret@h/0#insecure", "always verified"),
            ("rediss://u:5ecret@h?ca=", "only option"),
            ("rediss://u:5ecret@h?tls=off", "only option"),
            ("rediss://u:5?ecret@h", "only option"),
            ("redis://u:5ecret@h?ca=/etc/ca.pem", "in the open"),
            ("rediss://u:5ecret@h?ca=/%zz", "hexadecimal"),
        ] {
            let error = Address::parse(url).err().expect(url).to_string();
            assert!(error.contains(said) && !error.contains("ecret"), "{url}: {error}");
            assert!(error.starts_with("not the address of a redis: "), "{url}: {error}");
        }
    }
}
