//! The field on which every case plays, and what every case asserts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use outrigger_test_support::{Answer, App, Ended, Gate, Home, RawConnection, Received, Sidecar};

/// Two sidecars and the callee's application. Cases that run at the same time share one, and the last takes it down.
pub(crate) struct Field {
    pub(crate) caller: Sidecar,
    pub(crate) callee: Sidecar,
    pub(crate) app: App,
    answers: Answers,
    // Last, so that the sidecars are gone before their home is.
    pub(crate) home: Home,
}

type Answers = Arc<Mutex<HashMap<String, Answer>>>;

impl Field {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Field>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let field = Arc::new(Self::start());
            *shared = Arc::downgrade(&field);
            field
        })
    }

    fn start() -> Self {
        let home = Home::new();
        let answers = Answers::default();
        let scripted = Arc::clone(&answers);
        let app = App::answering(move |received| {
            let scripted = scripted.lock().unwrap();
            let found = scripted.iter().find(|(mark, _)| received.target.contains(mark.as_str()));
            found.map_or_else(|| Answer::text("ok"), |(_, answer)| answer.clone())
        });
        let callee = Sidecar::of(&home, "callee").app(app.port(), "http").start();
        let caller = Sidecar::of(&home, "caller").start();
        Self { caller, callee, app, answers, home }
    }
}

/// One case: a mark of its own in every path, and a good call in flight from its start to its end.
pub(crate) struct Case {
    pub(crate) field: Arc<Field>,
    mark: String,
    hold: Gate,
    bystander: Option<JoinHandle<String>>,
}

impl Case {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("case-{}.", COUNT.fetch_add(1, Ordering::SeqCst));
        let field = Field::shared();
        let hold = Gate::new();
        let good = format!("good-{mark}");
        field.answers.lock().unwrap().insert(good.clone(), Answer::text("untouched").held(&hold));
        let http = field.caller.http();
        let target = format!("/v1.0/invoke/callee/method/{good}");
        let bystander = std::thread::spawn(move || {
            let mut connection = RawConnection::open(http);
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            // It is held for as long as the case takes.
            connection.response("GET", Duration::from_secs(120)).expect("an answer").text()
        });
        outrigger_test_support::eventually("the good call at the application", || {
            (!field.app.received_with(&good).is_empty()).then_some(())
        });
        Self { field, mark, hold, bystander: Some(bystander) }
    }

    /// The mark that is this case's own.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The HTTP API under attack.
    pub(crate) fn api(&self) -> SocketAddr {
        self.field.caller.http()
    }

    /// A target that leads to the application, with `part` in it to tell several apart.
    pub(crate) fn target(&self, part: &str) -> String {
        format!("/v1.0/invoke/callee/method/{part}-{}", self.mark)
    }

    /// What the application answers to [`Case::target`] of `part`.
    pub(crate) fn answers(&self, part: &str, answer: Answer) {
        self.field.answers.lock().unwrap().insert(format!("{part}-{}", self.mark), answer);
    }

    /// What reached the application of [`Case::target`] of `part`.
    pub(crate) fn reached(&self, part: &str) -> Vec<Received> {
        self.field.app.received_with(&format!("{part}-{}", self.mark))
    }

    /// Sends `bytes` on a connection of their own and reads what comes, until the other end closes or falls silent.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Outcome {
        let mut connection = RawConnection::open(self.api());
        connection.send(bytes);
        self.outcome(&mut connection)
    }

    /// As [`Case::send`], and says then that no more bytes come.
    pub(crate) fn send_and_finish(&self, bytes: impl AsRef<[u8]>) -> Outcome {
        let mut connection = RawConnection::open(self.api());
        connection.send(bytes);
        connection.finish();
        self.outcome(&mut connection)
    }

    /// What comes on a connection, until the other end closes or falls silent.
    pub(crate) fn outcome(&self, connection: &mut RawConnection) -> Outcome {
        let (bytes, ended) = connection.read_settled(Duration::from_secs(15), Duration::from_millis(150));
        Outcome { bytes, ended }
    }

    /// The end of every case.
    pub(crate) fn others_are_untouched(mut self) {
        self.hold.open();
        let good = self.bystander.take().expect("taken here only").join();
        assert_eq!(good.expect("the good call gets an answer"), "untouched");
        let smuggled = self.reached("smuggled");
        assert!(smuggled.is_empty(), "this was smuggled to the application: {smuggled:?}");
        assert_eq!(self.field.app.faults(), Vec::<String>::new(), "the application got what is no HTTP");
        self.field.caller.assert_sound();
        self.field.callee.assert_sound();
    }

    /// The outcome is an error, and nothing of the case reached the application.
    pub(crate) fn refused(self, outcome: &Outcome) {
        outcome.assert_refused();
        let reached = self.reached("attack");
        assert!(reached.is_empty(), "it was refused, and reached the application: {reached:?}");
        self.others_are_untouched();
    }

    /// The outcome is an error and the application saw nothing; or the request was understood, in one way, and the
    /// application saw it once.
    pub(crate) fn refused_or_understood_once(self, outcome: &Outcome) {
        match self.reached("attack").as_slice() {
            [] => outcome.assert_refused(),
            [_] => outcome.assert_one_answer(),
            several => panic!("it reached the application more than once: {several:?}"),
        }
        self.others_are_untouched();
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.hold.open();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Outcome {
    bytes: Vec<u8>,
    ended: Ended,
}

impl Outcome {
    /// The status of each response, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let answers = text.split("HTTP/1.").skip(1);
        answers.filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// A 4xx, 501 or 505 and nothing after it, or a close without a word.
    pub(crate) fn assert_refused(&self) {
        match self.statuses().as_slice() {
            [] => assert!(self.bytes.is_empty() && self.ended != Ended::Open, "neither an error nor a close: {self:?}"),
            [400..=499 | 501 | 505] => {}
            _ => panic!("not refused: {:?} {}", self.ended, self.text()),
        }
    }

    /// Exactly one final response, and it says 200.
    pub(crate) fn assert_one_answer(&self) {
        assert_eq!(self.statuses(), [200], "{:?} {}", self.ended, self.text());
    }

    pub(crate) fn ended(&self) -> Ended {
        self.ended
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(id: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
    let kib: i64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number");
    kib * 1024
}

/// One test a line: a name that is a sentence, the bytes (given a [`Case`]), and how the case ends.
macro_rules! cases {
    ($end:ident: $($name:ident => $bytes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let case = $crate::case::Case::new();
                let bytes: Vec<u8> = ($bytes)(&case).into();
                let outcome = case.send(bytes);
                case.$end(&outcome);
            }
        )+
    };
}
pub(crate) use cases;
