//! `s3://bucket/prefix?endpoint=…&region=…&path_style=…`.

use objects::Key;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub bucket: String,
    /// Empty, or with a `/` at its end.
    pub prefix: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: Option<bool>,
}

fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not percent-encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or_else(wrong);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("s3://").ok_or_else(|| format!("{url:?} does not begin with s3://"))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_fit) {
            return Err(format!("{bucket:?} is not the name of a bucket"));
        }
        let mut prefix = prefix.trim_end_matches('/').to_owned();
        if !prefix.is_empty() {
            Key::new(prefix.as_str()).map_err(|_| format!("{prefix:?} is not a prefix of keys"))?;
            prefix.push('/');
        }
        let bucket = bucket.to_owned();
        let mut address = Self { bucket, prefix, endpoint: None, region: None, path_style: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
                    address.endpoint = Some(value.trim_end_matches('/').to_owned());
                }
                "region" if !value.is_empty() => address.region = Some(value),
                "path_style" if value == "true" || value == "false" => {
                    address.path_style = Some(value == "true");
                }
                "endpoint" | "region" | "path_style" => {
                    return Err(format!("{name}={value} is no value for it"));
                }
                _ => {
                    return Err(format!(
                        "there is no setting {name}: endpoint, region, path_style are known"
                    ));
                }
            }
        }
        Ok(address)
    }

    /// Without path style the bucket is a part of the host's name.
    pub fn endpoint_of_bucket(&self, endpoint: &str, path_style: bool) -> String {
        match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{}.{host}", self.bucket),
            _ => endpoint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_whole_or_refused() {
        let address = Address::parse("s3://shop-pictures").unwrap();
        assert_eq!((address.bucket.as_str(), address.prefix.as_str()), ("shop-pictures", ""));
        assert_eq!((address.endpoint, address.region, address.path_style), (None, None, None));
        let url =
            "s3://shop/rtc/a/?endpoint=http%3A%2F%2F127.0.0.1:5000/&region=ap-northeast-2&path_style=false";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.prefix, "rtc/a/");
        assert_eq!(address.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
        assert_eq!(address.region.as_deref(), Some("ap-northeast-2"));
        assert_eq!(address.endpoint_of_bucket("https://s3.local", false), "https://shop.s3.local");
        assert_eq!(address.endpoint_of_bucket("https://s3.local", true), "https://s3.local");
        for wrong in [
            "http://shop",
            "s3://",
            "s3://ab",
            "s3://Shop",
            "s3://shop/../x",
            "s3://shop?endpoint=127.0.0.1",
            "s3://shop?region=",
            "s3://shop?path_style=yes",
            "s3://shop?secret=x",
            "s3://shop?region=%zz",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
