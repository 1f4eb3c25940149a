//! Where a shared store is, and how to log in: read from one URL, and shown without its password.

use std::fmt;

use percent_encoding::percent_decode_str;
use redis::RedisConnectionInfo;
use url::{Host, Url};

/// Where Redis and Valkey listen.
const PORT: u16 = 6379;
/// What may be written.
const FORM: &str = "write `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS";

/// Where a shared store is, and how to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress {
    host: Box<str>,
    port: u16,
    tls: bool,
    login: Option<Login>,
    database: u16,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    /// `None` = the store's default user.
    user: Option<String>,
    password: String,
}

impl StoreAddress {
    /// Reads `redis://` and `rediss://`.
    ///
    /// # Errors
    /// Says what is wrong and what may be written, and repeats nothing of `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| Err(format!("{problem}: {FORM}"));
        let Ok(url) = Url::parse(text) else { return refused("this is no URL of a store") };
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return refused("this is no URL of a store"),
        };
        let host = match url.host() {
            Some(Host::Domain(host)) => host.into(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return refused("it names no host"),
        };
        // Some clients turn the certificate's check off by a fragment, or anything by a query. A word that is not obeyed is refused.
        if url.query().is_some() || url.fragment().is_some() {
            return refused("nothing may follow the database's number, neither `?` nor `#`");
        }
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => match number.parse() {
                Ok(number) => number,
                Err(_) => return refused("after the host stands the number of a database, or nothing"),
            },
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).ok();
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (_, None) => return refused("a user needs a password"),
            (user, Some(password)) => match (decoded(user), decoded(password)) {
                (Some(user), Some(password)) => Some(Login { user: (!user.is_empty()).then_some(user), password }),
                (_, _) => return refused("user and password must be UTF-8, percent-encoded"),
            },
        };
        Ok(Self { host: host.into(), port: url.port().unwrap_or(PORT), tls, login, database })
    }

    /// The host's name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The number of the database.
    #[must_use]
    pub const fn database(&self) -> u16 {
        self.database
    }

    /// How to log in, for the client library.
    pub(super) fn login(&self) -> RedisConnectionInfo {
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let Some(Login { user, password }) = &self.login else { return info };
        let info = info.set_password(password);
        match user {
            Some(user) => info.set_username(user),
            None => info,
        }
    }
}

/// Without the login.
impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}/{}", self.host, self.port, self.database),
            false => write!(f, "{scheme}://{}:{}/{}", self.host, self.port, self.database),
        }
    }
}

/// Without the login.
impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_part_but_the_host_may_be_left_out() {
        for (text, shown, user, password) in [
            ("redis://cache", "redis://cache:6379/0", None, None),
            ("redis://cache:7000/", "redis://cache:7000/0", None, None),
            ("rediss://10.0.0.7/12", "rediss://10.0.0.7:6379/12", None, None),
            ("redis://[fd00::1]:7000/1", "redis://[fd00::1]:7000/1", None, None),
            ("redis://:p%40ss%2Fword@cache", "redis://cache:6379/0", None, Some("p@ss/word")),
            ("rediss://ringfence:s3cret@cache:6380/2", "rediss://cache:6380/2", Some("ringfence"), Some("s3cret")),
        ] {
            let address = StoreAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            let login = address.login();
            assert_eq!((login.username(), login.password()), (user, password), "{text}");
        }
        let address = StoreAddress::parse("rediss://[fd00::1]").unwrap();
        assert_eq!((address.host(), address.port(), address.is_tls()), ("fd00::1", 6379, true));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (text, problem) in [
            ("redis:///1", "names no host"),
            ("redis://s3cret@cache", "needs a password"),
            ("redis://:s3cret@cache/one", "number of a database"),
            ("redis://:s3cret@cache/70000", "number of a database"),
            ("rediss://:s3cret@cache/1#insecure", "nothing may follow"),
            ("rediss://:s3cret@cache/1?protocol=resp3", "nothing may follow"),
            ("redis://:s3cret%ff@cache", "UTF-8"),
            ("redis://:s3cret@cache:port", "no URL of a store"),
            ("http://:s3cret@cache", "no URL of a store"),
        ] {
            let said = StoreAddress::parse(text).unwrap_err();
            assert!(said.contains(problem) && said.contains("rediss://") && !said.contains("s3cret"), "{text}: {said}");
        }
    }

    #[test]
    fn no_form_of_it_shows_the_password() {
        let address = StoreAddress::parse("redis://me:s3cret@cache").unwrap();
        for shown in [format!("{address:?}"), format!("{address:#?}"), address.to_string(), format!("{:?}", address.login())] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
