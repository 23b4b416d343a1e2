//! A TCP proxy before an HTTP server that does what networks and servers do on bad days: refuse, answer 5xx, break off in
//! the middle of an answer, lose the answer to what was done, be slow, stay silent.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the server sees the request.
    Refuse,
    /// An answer 503 in the server's stead.
    Busy,
    /// The server does it, and its answer is lost.
    LoseAnswer,
    /// The connection is closed after so many bytes of the answer.
    CutAnswer(usize),
    /// The server sees the request only after so long.
    Slow(Duration),
    /// Nothing comes until the client gives up.
    Silence,
}

impl Fault {
    /// How it is counted when it meets a request of this first line.
    fn name(self, line: &str) -> &'static str {
        match self {
            Self::Refuse => "refused",
            Self::Busy => "busy",
            Self::LoseAnswer if line.starts_with("GET") || line.starts_with("HEAD") => "answer_lost",
            Self::LoseAnswer => "answer_lost_after_it_was_done",
            Self::CutAnswer(_) => "answer_cut",
            Self::Slow(_) => "slow",
            Self::Silence => "silence",
        }
    }
}

#[derive(Debug, Clone)]
struct Plan {
    /// What the request line must contain.
    words: Vec<String>,
    times: usize,
    fault: Fault,
}

/// Faults that come again and again.
#[derive(Debug)]
struct Storm {
    every: usize,
    faults: Vec<Fault>,
    /// Requests since it began.
    seen: usize,
}

/// How many first lines are kept.
const LINES: usize = 10_000;

/// The proxy. It listens as long as the process lives.
#[derive(Debug, Clone)]
pub struct FaultyHttp {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    plans: Vec<Plan>,
    storm: Option<Storm>,
    lines: Vec<String>,
    hits: BTreeMap<&'static str, u64>,
}

impl State {
    fn planned(&mut self, line: &str) -> Option<Fault> {
        let plan = self.plans.iter_mut().find(|p| p.times > 0 && p.words.iter().all(|w| line.contains(w)))?;
        plan.times -= 1;
        Some(plan.fault)
    }
}

impl Storm {
    fn next(&mut self) -> Option<Fault> {
        self.seen += 1;
        let strikes = self.seen.is_multiple_of(self.every);
        self.faults.get(self.seen / self.every % self.faults.len()).copied().filter(|_| strikes)
    }
}

impl FaultyHttp {
    /// Listens on a port of its own for what is meant for `server`.
    pub fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let (shared, server) = (proxy.clone(), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (proxy, server) = (shared.clone(), server.clone());
                thread::spawn(move || proxy.serve(client, &server));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests whose first line contains all of `words` meet `fault`.
    pub fn plan(&self, words: &[&str], times: usize, fault: Fault) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.state().plans.push(Plan { words, times, fault });
    }

    /// From now on one request of `every` meets a fault, each of `faults` in its turn.
    pub fn storm(&self, every: usize, faults: &[Fault]) {
        self.state().storm = Some(Storm { every, faults: faults.to_vec(), seen: 0 });
    }

    /// Forgets every plan: the bad day is over.
    pub fn heal(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.storm = None;
    }

    /// How many requests met a fault so far, by its name.
    pub fn hits(&self) -> BTreeMap<&'static str, u64> {
        self.state().hits.clone()
    }

    /// Takes the first lines of the requests seen since the last call, 10,000 at most.
    pub fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.state().lines)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What awaits a request of this first line.
    fn fault(&self, line: &str) -> Option<Fault> {
        let mut state = self.state();
        if state.lines.len() < LINES {
            state.lines.push(line.to_owned());
        }
        let fault = state.planned(line).or_else(|| state.storm.as_mut()?.next())?;
        *state.hits.entry(fault.name(line)).or_default() += 1;
        Some(fault)
    }

    /// Serves one connection. A request begins where a chunk begins with a method, which is how clients write.
    fn serve(&self, mut client: TcpStream, server: &str) {
        let Ok(mut upstream) = TcpStream::connect(server) else { return };
        let answers = Arc::new(Mutex::new(None));
        let back = (upstream.try_clone().unwrap(), client.try_clone().unwrap(), Arc::clone(&answers));
        thread::spawn(move || answer(back.0, back.1, &back.2));
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = client.read(&mut chunk) {
            if let Some(line) = request_line(&chunk[..read]) {
                let fault = self.fault(&line);
                match fault {
                    Some(Fault::Refuse) => break,
                    Some(Fault::Busy) => {
                        let body = "<Error><Code>SlowDown</Code></Error>";
                        let head = "HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length:";
                        let _ = client.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
                        // What the client still sends is read, or it would not read the answer.
                        let _ = client.set_read_timeout(Some(Duration::from_millis(200)));
                        while matches!(client.read(&mut chunk), Ok(1..)) {}
                        break;
                    }
                    Some(Fault::Silence) => {
                        while matches!(client.read(&mut chunk), Ok(1..)) {}
                        break;
                    }
                    other => {
                        if let Some(Fault::Slow(time)) = other {
                            thread::sleep(time);
                        }
                        *answers.lock().unwrap_or_else(PoisonError::into_inner) = other;
                    }
                }
            }
            if upstream.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = upstream.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }
}

/// Carries answers back, unless one is to be lost or cut.
fn answer(mut upstream: TcpStream, mut client: TcpStream, fault: &Mutex<Option<Fault>>) {
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = upstream.read(&mut chunk) {
        let fault = *fault.lock().unwrap_or_else(PoisonError::into_inner);
        let interim = chunk.starts_with(b"HTTP/1.1 100");
        match fault {
            Some(Fault::LoseAnswer) if !interim => break,
            Some(Fault::CutAnswer(most)) if !interim => {
                let _ = client.write_all(&chunk[..read.min(most)]);
                break;
            }
            _ => {}
        }
        if client.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

fn request_line(chunk: &[u8]) -> Option<String> {
    let is_request = ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /"].iter().any(|m| chunk.starts_with(m.as_bytes()));
    let line = chunk.split(|byte| *byte == b'\r').next().filter(|_| is_request)?;
    Some(String::from_utf8_lossy(line).into_owned())
}
