#![allow(clippy::unwrap_used, reason = "tests")]

use std::{cell::RefCell, rc::Rc};

use h2::client::{ResponseFuture, SendRequest};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::Semaphore,
    task::{JoinHandle, LocalSet},
    time::Instant as Moment,
};

use super::*;

/// Writes down what is decided; `/wait` waits for a permit, `/other` is not there, to decide `/slow` takes as long as a batch may.
#[derive(Debug)]
struct Diary {
    events: RefCell<Vec<String>>,
    permits: Semaphore,
}

impl Diary {
    fn new() -> Rc<Self> {
        Rc::new(Self { events: RefCell::default(), permits: Semaphore::new(0) })
    }

    fn write(&self, event: impl Into<String>) {
        self.events.borrow_mut().push(event.into());
    }
}

/// Writes down that a call is over, however it ends.
struct Over(Rc<Diary>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.write("over");
    }
}

impl Answers for Rc<Diary> {
    type Call = Request<Received>;

    fn take(&self, call: Request<Received>) -> Request<Received> {
        call
    }

    fn answer(&self, call: Request<Received>, _: Instant) -> Begun {
        let (diary, path) = (Self::clone(self), call.uri().path().to_owned());
        match path.as_str() {
            "/other" => Begun::Answered(Answer::Unimplemented),
            "/wait" => Begun::Waits(Box::pin(async move {
                let _over = Over(Rc::clone(&diary));
                diary.permits.acquire().await.unwrap().forget();
                diary.write(path.clone());
                Answer::Message(path.into())
            })),
            _ => {
                let began = Instant::now();
                while path == "/slow" && began.elapsed() < BATCH_TIME {}
                diary.write(path.clone());
                Begun::Answered(Answer::Message(path.into()))
            }
        }
    }
}

/// A connection that is served, and a client on the other end of it.
async fn connect(diary: &Rc<Diary>) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let (near, far) = duplex(1024 * 1024);
    let served = spawn_local(Connection::new(far, Rc::clone(diary)));
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    spawn_local(async move {
        let _ = connection.await;
    });
    (client.ready().await.unwrap(), served)
}

fn ask(client: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    let call = Request::post(format!("http://ringfence{path}")).body(()).unwrap();
    client.send_request(call, true).unwrap().0
}

/// The message of an answer, and the outcome that its trailers, or else its headers, tell.
async fn answer(asked: ResponseFuture) -> (Bytes, String) {
    let (head, mut body) = asked.await.unwrap().into_parts();
    let message = body.data().await.transpose().unwrap().unwrap_or_default();
    let trailers = body.trailers().await.unwrap();
    let outcome = trailers.as_ref().unwrap_or(&head.headers).get(GRPC_STATUS).unwrap().to_str().unwrap().to_owned();
    (message, outcome)
}

#[tokio::test]
async fn calls_are_answered_and_what_is_not_there_is_said() {
    LocalSet::new()
        .run_until(async {
            let (mut client, _served) = connect(&Diary::new()).await;
            let asked = ask(&mut client, "/check");
            assert_eq!(answer(asked).await, ("/check".into(), "0".to_owned()));
            let asked = ask(&mut client, "/other");
            assert_eq!(answer(asked).await, (Bytes::new(), "12".to_owned()));
        })
        .await;
}

#[tokio::test]
async fn one_that_waits_holds_up_no_other() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (mut client, _served) = connect(&diary).await;
            let waiting = ask(&mut client, "/wait");
            let asked: Vec<_> = (0..3 * BATCH).map(|number| ask(&mut client, &format!("/{number}"))).collect();
            for (number, asked) in asked.into_iter().enumerate() {
                assert_eq!(answer(asked).await.0, format!("/{number}"));
            }
            diary.permits.add_permits(1);
            assert_eq!(answer(waiting).await.0, "/wait");
        })
        .await;
}

#[tokio::test]
async fn an_answer_does_not_wait_until_all_that_came_with_it_is_decided() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (mut client, _served) = connect(&diary).await;
            let mut asked: Vec<_> = (0..BATCH).map(|_| ask(&mut client, "/slow")).collect();
            answer(asked.remove(0)).await;
            assert!(diary.events.borrow().len() < BATCH, "all were decided first");
            for asked in asked {
                assert_eq!(answer(asked).await.0, "/slow");
            }
        })
        .await;
}

#[tokio::test]
async fn a_caller_that_gives_up_is_not_waited_for() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (mut client, _served) = connect(&diary).await;
            let waiting = ask(&mut client, "/wait");
            // The answer to a later call says that this one has come, too.
            let asked = ask(&mut client, "/check");
            answer(asked).await;
            drop(waiting);
            while !diary.events.borrow().contains(&"over".to_owned()) {
                tokio::task::yield_now().await;
            }
            let asked = ask(&mut client, "/check");
            answer(asked).await;
        })
        .await;
}

#[tokio::test]
async fn closing_answers_what_has_come_and_then_ends() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (near, far) = duplex(1024 * 1024);
            let mut connection = Box::pin(Connection::new(far, Rc::clone(&diary)));
            let (close, closed) = tokio::sync::oneshot::channel::<()>();
            let served = spawn_local(async move {
                tokio::select! {
                    () = connection.as_mut() => return,
                    _ = closed => connection.as_mut().close(),
                }
                connection.await;
            });
            let (client, driver) = h2::client::handshake::<DuplexStream>(near).await.unwrap();
            let driven = spawn_local(driver);
            let mut client = client.ready().await.unwrap();
            let waiting = ask(&mut client, "/wait");
            let asked = ask(&mut client, "/check");
            answer(asked).await;
            close.send(()).unwrap();
            diary.permits.add_permits(1);
            assert_eq!(answer(waiting).await.0, "/wait");
            served.await.unwrap();
            driven.await.unwrap().unwrap();
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_at_all_is_let_go() {
    LocalSet::new()
        .run_until(async {
            let (_near, far) = duplex(1024);
            let began = Moment::now();
            Connection::new(far, Diary::new()).await;
            assert_eq!(began.elapsed().as_secs(), PROBE_TIMEOUT.as_secs());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_probed_and_stays_only_if_it_answers() {
    LocalSet::new()
        .run_until(async {
            let (mut client, served) = connect(&Diary::new()).await;
            sleep(10 * PROBE_EVERY).await;
            assert!(!served.is_finished(), "this peer answers each probe");
            let asked = ask(&mut client, "/check");
            answer(asked).await;

            let (mut near, far) = duplex(1024);
            let began = Moment::now();
            near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            Connection::new(far, Diary::new()).await;
            assert_eq!(began.elapsed().as_secs(), (PROBE_EVERY + PROBE_TIMEOUT).as_secs());
        })
        .await;
}

#[tokio::test]
async fn many_that_give_up_at_once_cost_nothing_and_end_nothing() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (mut client, _served) = connect(&diary).await;
            let asked = ask(&mut client, "/before");
            answer(asked).await;
            // Nothing is sent until this task waits: the server reads each call and that it is given up in one go.
            for _ in 0..MAX_GIVEN_UP {
                let (_, mut call) = client.send_request(Request::post("http://ringfence/given-up").body(()).unwrap(), true).unwrap();
                call.send_reset(Reason::CANCEL);
            }
            let asked = ask(&mut client, "/after");
            assert_eq!(answer(asked).await.0, "/after");
            assert_eq!(*diary.events.borrow(), ["/before", "/after"]);
        })
        .await;
}

#[tokio::test]
async fn calls_of_a_peer_that_reads_no_answers_are_bounded() {
    LocalSet::new()
        .run_until(async {
            let diary = Diary::new();
            let (near, far) = duplex(1024 * 1024);
            let _served = spawn_local(Connection::new(far, Rc::clone(&diary)));
            let handshake = h2::client::Builder::new().initial_window_size(0).initial_max_send_streams(0).handshake::<_, Bytes>(near);
            let (client, connection) = handshake.await.unwrap();
            spawn_local(async move {
                let _ = connection.await;
            });
            let mut client = client.ready().await.unwrap();
            let bound = usize::try_from(MAX_STREAMS).unwrap();
            let mut asked = Vec::new();
            for number in 0..bound + 100 {
                client = client.ready().await.unwrap();
                asked.push(ask(&mut client, &format!("/{number}")));
            }
            while diary.events.borrow().len() < bound {
                tokio::task::yield_now().await;
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(diary.events.borrow().len(), bound, "the others wait until an answer was read");
        })
        .await;
}

#[tokio::test]
async fn what_is_not_http2_is_let_go() {
    LocalSet::new()
        .run_until(async {
            let (mut near, far) = duplex(1024);
            near.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
            Connection::new(far, Diary::new()).await;
        })
        .await;
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    LocalSet::new()
        .run_until(async {
            let (mut near, far) = duplex(64 * 1024);
            let served = spawn_local(Connection::new(far, Diary::new()));
            near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            near.write_all(&frame(4, 0, 0, &[])).await.unwrap();
            near.write_all(&frame(1, 0, 1, &[])).await.unwrap();
            // CONTINUATION after CONTINUATION (CVE-2024-27316): written until nobody reads.
            let mut written = 0_usize;
            while !served.is_finished() && near.write_all(&frame(9, 0, 1, &[0x82; 1024])).await.is_ok() {
                written += 1024;
                assert!(written < 16 * 1024 * 1024, "the server reads on and on");
                tokio::task::yield_now().await;
            }
            served.await.unwrap();
        })
        .await;
}
