//! The child can do nothing but read its document, and nothing it does hurts the parent.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use domain::outcome::Category;
use pipeline::{Limits, ReadError};

use crate::machine::{NEVER, category, limited, reader};

#[test]
fn every_door_is_closed() {
    assert_eq!(reader().probe("doors", &NEVER).unwrap(), Vec::<String>::new());
}

#[test]
fn limits_have_names() {
    let limits = || Limits { max_document_bytes: 1 << 20, memory_bytes: 200 << 20, ..Limits::default() };
    assert_eq!(category(limited(limits()).probe("memory", &NEVER)), Category::Memory);
    assert_eq!(category(limited(Limits { cpu_seconds: 1, ..limits() }).probe("processor", &NEVER)), Category::TimedOut);
    assert_eq!(category(limited(Limits { wall_seconds: 1, ..limits() }).probe("sleep", &NEVER)), Category::TimedOut);
}

#[test]
fn crashes_stay_in_the_child() {
    assert_eq!(category(reader().probe("stack", &NEVER)), Category::Crashed);
    match reader().probe("panic", &NEVER) {
        Err(ReadError::Exception(exception)) => {
            assert_eq!(exception.category, Category::Crashed);
            assert!(exception.detail.contains("child.rs"), "{}", exception.detail);
            assert!(!exception.detail.contains("secret"), "a panic's message may quote the document");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn cancel_kills_the_child() {
    let cancel = AtomicBool::new(false);
    let started = Instant::now();
    let result = std::thread::scope(|scope| {
        let reading = scope.spawn(|| reader().probe("sleep", &cancel));
        std::thread::sleep(Duration::from_millis(100));
        cancel.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    assert!(matches!(result, Err(ReadError::Cancelled)), "{result:?}");
    assert!(started.elapsed() < Duration::from_mins(1), "the child was waited for");
}
