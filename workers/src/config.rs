//! How much work this process does at once, and how patient it is; the `[workers]` section of the configuration file.

use std::{path::PathBuf, time::Duration};

use domain::jobs::Queue;
use serde::{Deserialize, Serialize};

/// Settings of the workers; a section of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkersConfig {
    /// Where `dia work` answers `/health/live`, `/health/ready` and `/metrics`. Default empty: nowhere.
    pub listen: String,
    /// The queues this process works on. Default all: `ingest`, `extract`, `ocr`, `index`, `relate`, `chat`,
    /// `network`, `maintenance`.
    pub queues: Vec<Queue>,
    /// Documents identified and unpacked at once. Default 2.
    pub ingest: usize,
    /// Documents read at once; each is a child process with one thread. 0 means one per core. Default 0.
    pub extract: usize,
    /// Scans recognised at once, each page by page with one thread. 0 means one per core. Default 0.
    pub ocr: usize,
    /// Indexes written at once; each takes `index_memory_megabytes`. Default 1.
    pub index: usize,
    /// Cases whose conversations and near-duplicates are looked for at once; each takes about 500 bytes a document. Default 1.
    pub relate: usize,
    /// Questions answered at once. Default 4.
    pub chat: usize,
    /// References fetched, and messages sent to webhooks, at once. Default 4.
    pub network: usize,
    /// Housekeeping jobs run at once. Default 1.
    pub maintenance: usize,
    /// Memory that must be left, in megabytes, of the machine and of the process's control group: no job is claimed while there is
    /// less; 0 never waits. Default 256.
    pub memory_floor_megabytes: u64,
    /// How long a silent process keeps its jobs, in seconds; then others take them over. Default 30.
    pub lease_seconds: u64,
    /// Longest time between two looks at a queue whose bell did not ring, in milliseconds. Default 1000.
    pub poll_milliseconds: u64,
    /// How long running jobs may go on after dia was told to stop, in seconds; then they are handed back. Default 20.
    pub stop_seconds: u64,
    /// Most items that one load file may announce. Default 2000000.
    pub max_items: u64,
    /// Most documents in one step of an index. Default 2000.
    pub index_documents: u32,
    /// Most text in one step of an index, in megabytes. Default 64.
    pub index_text_megabytes: u64,
    /// Memory an index writer gathers before it writes a segment, in megabytes. Default 64.
    pub index_memory_megabytes: usize,
    /// How long an index step waits for documents still being read, in milliseconds, so that thousands of small steps
    /// become a few large ones. Default 2000.
    pub index_linger_milliseconds: u64,
    /// Most passwords of a case's bank that are tried on one protected document: the newest for half of the places, then
    /// those that opened the most. Default 200.
    pub max_passwords_tried: u32,
    /// How often it is looked whether a case has come to rest, so that its conversations and near-duplicates can be found, in
    /// milliseconds. Default 5000.
    pub relate_linger_milliseconds: u64,
    /// How long a case may keep moving before its conversations and near-duplicates are found nevertheless, in seconds.
    /// Default 600.
    pub relate_patience_seconds: u64,
    /// How alike two texts must be to be near-duplicates: the share of runs of three words that both have, in percent; 60 to
    /// 100. Default 85.
    pub near_duplicate_percent: u8,
    /// Fewest words of a text that is compared with others. Default 20.
    pub near_duplicate_words: u32,
    /// The sorted file of known files that are left out (deNIST), made by `dia known-files import`. Default empty: none are.
    pub known_files: PathBuf,
    /// How often garbage is collected, in seconds. Default 3600.
    pub collect_seconds: u64,
    /// How old an object that no row refers to must be before it is deleted, in seconds; longer than the longest upload.
    /// Default 86400.
    pub orphan_seconds: u64,
    /// How long the files of an index generation are kept after the next was published, in seconds; longer than the longest
    /// search. Default 3600.
    pub retired_seconds: u64,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            listen: String::new(),
            queues: Queue::ALL.to_vec(),
            ingest: 2,
            extract: 0,
            ocr: 0,
            index: 1,
            relate: 1,
            chat: 4,
            network: 4,
            maintenance: 1,
            memory_floor_megabytes: 256,
            lease_seconds: 30,
            poll_milliseconds: 1_000,
            stop_seconds: 20,
            max_items: 2_000_000,
            index_documents: 2_000,
            index_text_megabytes: 64,
            index_memory_megabytes: 64,
            index_linger_milliseconds: 2_000,
            max_passwords_tried: 200,
            relate_linger_milliseconds: 5_000,
            relate_patience_seconds: 600,
            near_duplicate_percent: 85,
            near_duplicate_words: 20,
            known_files: PathBuf::new(),
            collect_seconds: 3_600,
            orphan_seconds: 86_400,
            retired_seconds: 3_600,
        }
    }
}

impl WorkersConfig {
    /// Jobs of `queue` run at once, at least 1.
    pub fn concurrency(&self, queue: Queue) -> usize {
        let wanted = match queue {
            Queue::Ingest => self.ingest,
            Queue::Extract if self.extract == 0 => cores(),
            Queue::Extract => self.extract,
            Queue::Ocr if self.ocr == 0 => cores(),
            Queue::Ocr => self.ocr,
            Queue::Index => self.index,
            Queue::Relate => self.relate,
            Queue::Chat => self.chat,
            Queue::Network => self.network,
            Queue::Maintenance => self.maintenance,
        };
        wanted.max(1)
    }

    /// Sets how many jobs of `queue` run at once.
    pub fn set_concurrency(&mut self, queue: Queue, slots: usize) {
        *match queue {
            Queue::Ingest => &mut self.ingest,
            Queue::Extract => &mut self.extract,
            Queue::Ocr => &mut self.ocr,
            Queue::Index => &mut self.index,
            Queue::Relate => &mut self.relate,
            Queue::Chat => &mut self.chat,
            Queue::Network => &mut self.network,
            Queue::Maintenance => &mut self.maintenance,
        } = slots;
    }

    /// Bytes that must be left before a job is claimed.
    pub fn memory_floor(&self) -> u64 {
        self.memory_floor_megabytes << 20
    }

    /// How long a silent process keeps its jobs.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.max(1))
    }

    /// Longest time between two looks at a quiet queue.
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_milliseconds.max(1))
    }

    /// Says what cannot be worked with.
    pub fn check(&self) -> Result<(), &'static str> {
        // Below that, the bands of `domain::similarity` miss too many.
        if !(60..=100).contains(&self.near_duplicate_percent) {
            return Err("near_duplicate_percent must be between 60 and 100");
        }
        Ok(())
    }

    /// How often garbage is collected.
    pub fn collect(&self) -> Duration {
        Duration::from_secs(self.collect_seconds.max(1))
    }

    /// How long running jobs may go on after the stop.
    pub fn stop(&self) -> Duration {
        Duration::from_secs(self.stop_seconds)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_still_and_extraction_takes_the_cores() {
        let none = WorkersConfig {
            ingest: 0,
            extract: 0,
            ocr: 0,
            index: 0,
            relate: 0,
            chat: 0,
            network: 0,
            maintenance: 0,
            ..WorkersConfig::default()
        };
        for queue in Queue::ALL {
            assert!(none.concurrency(queue) >= 1, "{queue:?}");
        }
        assert_eq!(none.concurrency(Queue::Extract), cores());
        assert_eq!(none.concurrency(Queue::Ocr), cores());
    }

    #[test]
    fn slots_are_set_by_queue() {
        for queue in Queue::ALL {
            let mut config = WorkersConfig::default();
            config.set_concurrency(queue, 97);
            let set: Vec<Queue> = Queue::ALL.into_iter().filter(|q| config.concurrency(*q) == 97).collect();
            assert_eq!(set, [queue]);
        }
    }

    #[test]
    fn near_duplicates_are_as_alike_as_can_be_found() {
        for (near_duplicate_percent, is_sound) in [(0, false), (59, false), (60, true), (100, true), (101, false)] {
            let config = WorkersConfig { near_duplicate_percent, ..WorkersConfig::default() };
            assert_eq!(config.check().is_ok(), is_sound, "{near_duplicate_percent}");
        }
    }

    #[test]
    fn a_key_that_does_not_exist_is_an_error() {
        assert!(serde_json::from_str::<WorkersConfig>(r#"{"extract": 3}"#).is_ok());
        assert!(serde_json::from_str::<WorkersConfig>(r#"{"extractors": 3}"#).is_err());
    }
}
