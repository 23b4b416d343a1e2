//! Lines of syslog (RFC 5424), one in a datagram (RFC 5426) or counted in a stream (RFC 6587 §3.4.1).

use std::time::Duration;

use crate::runner::load::host;
use domain::{alerts::Severity, clock::Timestamp};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// The facility of security and authorisation messages (RFC 5424 §6.2.1).
const FACILITY: u8 = 4;
/// How long a collector is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much a line matters (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(u8);

impl Level {
    /// What happens all day.
    pub(crate) const INFORMATIONAL: Self = Self(6);
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        Self(match severity {
            Severity::Notice => 5,
            Severity::Warning => 4,
            Severity::Critical => 2,
        })
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector {
    is_stream: bool,
    address: String,
}

impl Collector {
    /// Reads `udp://host:port` or `tcp://host:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "syslog looks like udp://host:514 or tcp://host:601".to_owned();
        let (scheme, address) = text.split_once("://").ok_or_else(wrong)?;
        let is_stream = match scheme {
            "udp" => false,
            "tcp" => true,
            _ => return Err(wrong()),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        Ok(Self { is_stream, address: address.to_owned() })
    }

    /// Sends one line. A datagram may be lost; a stream fails when nobody takes it.
    pub(crate) async fn send(&self, line: &str) -> std::io::Result<()> {
        let sent = async {
            if self.is_stream {
                let mut stream = TcpStream::connect(&self.address).await?;
                stream.write_all(format!("{} {line}", line.len()).as_bytes()).await?;
                return stream.shutdown().await;
            }
            let any = if self.address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(any).await?.send_to(line.as_bytes(), &self.address).await.map(drop)
        };
        timeout(PATIENCE, sent).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// `<PRI>1 TIME HOST dia PROCID ID - BOM TEXT`. Fields lose what the grammar does not allow in them.
pub(crate) fn line(level: Level, at: Timestamp, id: &str, text: &str) -> String {
    written(level, at, &host(), id, text)
}

fn written(level: Level, at: Timestamp, host: &str, id: &str, text: &str) -> String {
    let priority = FACILITY * 8 + level.0;
    let field = |text: &str, most: usize| {
        let kept: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
        if kept.is_empty() { "-".to_owned() } else { kept }
    };
    let (host, id) = (field(host, 255), field(id, 32));
    format!("<{priority}>1 {} {host} dia {} {id} - \u{feff}{text}", at.rfc3339(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_grammar() {
        let said =
            written(Severity::Critical.into(), Timestamp(1_700_000_000_000_000), "a host\n", "token_replay", "{}");
        let fields: Vec<&str> = said.splitn(8, ' ').collect();
        assert_eq!((fields[0], fields[2], fields[3]), ("<34>1", "ahost", "dia"));
        assert!(fields[1].ends_with('Z') && fields[1].contains('T'), "{}", fields[1]);
        assert_eq!((fields[5], fields[6], fields[7]), ("token_replay", "-", "\u{feff}{}"));
        assert!(written(Severity::Notice.into(), Timestamp(0), "", "", "").starts_with("<37>1 1970"));
    }

    #[test]
    fn places_are_read() {
        for good in ["udp://127.0.0.1:514", "tcp://logs.example:601", "udp://[::1]:514"] {
            assert!(Collector::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "udp://", "udp://host", "udp://:514", "tls://host:6514", "udp://host:65536"] {
            assert!(Collector::parse(bad).is_err(), "{bad}");
        }
    }
}
