//! `mysql://user[:password]@host[:port]/schema[?pool=8&tls=off|required|verify&ca=/path&socket=/path]`
//!
//! Invariant: no error and no `Debug` shows the password.

use std::fmt;
use std::path::PathBuf;

use db::Error;
use kernel::percent;

const PORT: u16 = 3306;
pub(crate) const POOL: usize = 8;
const POOL_MAX: usize = 128;
/// What a schema's name may be made of: it goes into statements as a name.
const SCHEMA_MAX: usize = 64;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    /// Encrypted, whoever it is at the other end.
    Required,
    /// Encrypted, and the server proves its name.
    Verify,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub user: String,
    pub password: Option<String>,
    pub host: String,
    pub port: u16,
    pub schema: String,
    pub pool: usize,
    pub tls: Tls,
    pub ca: Option<PathBuf>,
    /// The server's socket on this machine, which is faster than its port.
    pub socket: Option<PathBuf>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mysql://{}@{}:{}/{}", self.user, self.host, self.port, self.schema)
    }
}

fn wrong(problem: &str) -> Error {
    Error::Address(format!("{problem} (mysql://user@host:port/schema is wanted)"))
}

fn decoded(text: &str) -> Result<String, Error> {
    percent::decoded(text).map_err(|error| wrong(&error.to_string()))
}

fn host_and_port(text: &str) -> Result<(String, u16), Error> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| wrong("a [ is not closed"))?;
            (host, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(wrong("there is no host"));
    }
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port is no port"))?
        }
        None => PORT,
    };
    Ok((host.to_owned(), port))
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, Error> {
        let rest = url.strip_prefix("mysql://").ok_or_else(|| wrong("it does not begin with mysql://"))?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, schema) = rest.split_once('/').ok_or_else(|| wrong("there is no schema"))?;
        let (credentials, place) = place.rsplit_once('@').ok_or_else(|| wrong("there is no user"))?;
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(decoded(password)?)),
            None => (credentials, None),
        };
        let user = decoded(user)?;
        if user.is_empty() {
            return Err(wrong("there is no user"));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if schema.is_empty() || schema.len() > SCHEMA_MAX || !schema.chars().all(good) {
            return Err(wrong("a schema's name has 1 to 64 letters, digits and _"));
        }
        let (host, port) = host_and_port(place)?;
        let schema = schema.to_owned();
        let mut address =
            Self { user, password, host, port, schema, pool: POOL, tls: Tls::Off, ca: None, socket: None };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            address.set(option)?;
        }
        Ok(address)
    }

    fn set(&mut self, option: &str) -> Result<(), Error> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name, value) {
            ("pool", size) => {
                let size = size.parse().ok().filter(|size| (1..=POOL_MAX).contains(size));
                self.pool = size.ok_or_else(|| wrong(&format!("pool is a number from 1 to {POOL_MAX}")))?;
            }
            ("tls", "off") => self.tls = Tls::Off,
            ("tls", "required") => self.tls = Tls::Required,
            ("tls", "verify") => self.tls = Tls::Verify,
            ("tls", _) => return Err(wrong("tls is off, required or verify")),
            ("ca", path) if !path.is_empty() => self.ca = Some(PathBuf::from(decoded(path)?)),
            ("socket", path) if path.starts_with('/') => self.socket = Some(PathBuf::from(decoded(path)?)),
            ("socket", _) => return Err(wrong("socket is a path from the root")),
            _ => return Err(wrong(&format!("the option {name:?} is not known"))),
        }
        Ok(())
    }

    /// Where the server is, for errors.
    pub fn server(&self) -> String {
        match &self.socket {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let url = "mysql://shop:p%40ss%3aword@db.example:3307/rtc_orders?pool=4&tls=verify&ca=/etc/ca.pem&socket=/run/my%20sql.sock";
        let address = Address::parse(url).unwrap();
        assert_eq!(format!("{address:?}"), "mysql://shop@db.example:3307/rtc_orders");
        assert_eq!(address.password.as_deref(), Some("p@ss:word"));
        assert_eq!((address.pool, address.tls), (4, Tls::Verify));
        assert_eq!(address.ca, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(address.socket, Some(PathBuf::from("/run/my sql.sock")));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let address = Address::parse("mysql://root@[::1]/rtc").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.pool), ("::1", 3306, POOL));
        assert_eq!((address.password, address.tls, address.socket), (None, Tls::Off, None));
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong_and_never_the_password() {
        for (url, said) in [
            ("postgres://u:secret@h/s", "mysql://"),
            ("mysql://u:secret@h", "no schema"),
            ("mysql://h:3306/s", "no user"),
            ("mysql://u:secret@h:0/s", "port"),
            ("mysql://u:secret@h/s`; DROP", "schema's name"),
            ("mysql://u:secret@h/s?pool=0", "pool"),
            ("mysql://u:secret@h/s?tls=maybe", "tls"),
            ("mysql://u:secret@h/s?socket=here", "socket"),
            ("mysql://u:secret@h/s?colour=red", "colour"),
            ("mysql://u:secret%zz@h/s", "hexadecimal"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
