//! The addresses of engines, as far as a network policy needs them.

/// What a URL of an engine says about the way there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    /// Those of all hosts that it names, each once.
    pub ports: Vec<u16>,
}

impl Address {
    /// Reads `scheme://[user[:password]@]host[:port][,host[:port]…][/…]`. `None` where that is not what it is, or where a
    /// password is in it.
    pub fn parse(url: &str, port: u16) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if scheme.is_empty() || hosts.is_empty() || user.contains(':') {
            return None;
        }
        let mut ports = Vec::new();
        for host in hosts.split(',') {
            let port = match host.rsplit_once(':') {
                Some(("", _)) => return None,
                Some((_, number)) => number.parse().ok()?,
                None if host.is_empty() => return None,
                None => port,
            };
            ports.push(port);
        }
        ports.sort_unstable();
        ports.dedup();
        Some(Self { scheme: scheme.to_owned(), ports })
    }
}

/// Whether a text is an address range: `10.0.0.0/16`.
pub(super) fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(length) = length.parse::<u8>() else { return false };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => length <= 32,
        Ok(std::net::IpAddr::V6(_)) => length <= 128,
        Err(_) => false,
    }
}
