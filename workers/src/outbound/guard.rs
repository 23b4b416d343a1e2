//! What a name resolves to, less what may not be connected to. The connection is made to the very addresses that are returned here,
//! so a name that stands for something else a moment later changes nothing.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use domain::outbound::{Reach, Refusal};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names within a reach.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    reach: Reach,
    lookup: Lookup,
}

/// Who knows what names stand for.
#[derive(Debug, Clone)]
enum Lookup {
    /// The machine.
    Machine,
    /// A test.
    #[cfg(test)]
    Table(std::collections::HashMap<String, Vec<IpAddr>>),
}

impl Guard {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, lookup: Lookup::Machine }
    }

    #[cfg(test)]
    pub(super) fn with(reach: Reach, table: std::collections::HashMap<String, Vec<IpAddr>>) -> Self {
        Self { reach, lookup: Lookup::Table(table) }
    }
}

impl Lookup {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            // Port 0 is replaced by that of the URL.
            Self::Machine => Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
            #[cfg(test)]
            Self::Table(table) => table.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let mut found = guard.lookup.addresses(name.as_str()).await?;
            found.retain(|address| guard.reach.admits(*address));
            if found.is_empty() {
                return Err(Refusal::Address.into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
