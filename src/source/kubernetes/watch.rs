//! One feed as a stream of what became of its objects: listed, then watched, for ever, with pauses after failures.
//!
//! Must not know what is done about them.

use std::{collections::HashMap, fmt, ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use kube::{
    Client, ResourceExt,
    api::DynamicObject,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event},
    },
};
use ringfence_core::api::{Object, ObjectKey};
use serde_json::Value;
use tokio::{
    sync::mpsc::Sender,
    time::{sleep, timeout},
};

use super::feed::Feed;

/// How long the API server may say nothing while it lists.
const LIST: Duration = Duration::from_secs(30);
/// Longest pause after a failure: so late is noticed what was missing and is there now.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The same where another right serves as well, or none is meant to be given.
const LONGEST_PAUSE_REFUSED: Duration = Duration::from_secs(30);

/// Most Secrets of a namespace that are kept together, and their bytes: whoever may write there must not fill our memory.
const MOST_SECRETS: (usize, usize) = (1_024, 8 * 1024 * 1024);

/// What happened to a feed.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) feed: Feed,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// These are all its objects.
    Listed(Vec<Object>),
    /// This one is new, or is another now.
    Changed(Object),
    /// This one is gone.
    Gone(ObjectKey),
    /// It cannot be read now.
    Troubled(Trouble),
}

/// Why a feed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// 403: the right is missing.
    Forbidden,
    /// 404: there is no such kind.
    NoSuchKind,
    /// It holds more than is kept.
    TooMuch,
    /// Anything else; it says nothing about the objects.
    Unreachable(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("it may not be read"),
            Self::NoSuchKind => f.write_str("the API server does not know this kind"),
            Self::TooMuch => write!(f, "there are more than {} objects, or more than {} bytes of them", MOST_SECRETS.0, MOST_SECRETS.1),
            Self::Unreachable(why) => write!(f, "the API server cannot be asked: {why}"),
        }
    }
}

/// Tells of `feed` until nobody listens.
pub(super) async fn watch(feed: Feed, client: Client, tell: Sender<Signal>) {
    let mut pauses = DefaultBackoff::default();
    while let ControlFlow::Continue(()) = list_and_watch(&feed, &client, &tell, &mut pauses).await {}
}

/// The same until it has to begin anew.
async fn list_and_watch(feed: &Feed, client: &Client, tell: &Sender<Signal>, pauses: &mut DefaultBackoff) -> ControlFlow<()> {
    let mut stream = pin!(watcher::watcher(feed.api(client.clone()), feed.selection()));
    let mut listing = Some(Vec::new());
    let mut weight = Weight::default();
    loop {
        let next = match listing {
            Some(_) => timeout(LIST, stream.next()).await,
            None => Ok(stream.next().await),
        };
        let is_late = next.is_err();
        let news = match next {
            Ok(Some(Ok(event))) => {
                pauses.reset();
                if feed.is_bounded() {
                    weight.take(&event);
                }
                if weight.exceeds(MOST_SECRETS) { Some(News::Troubled(Trouble::TooMuch)) } else { news_of(event, feed, &mut listing) }
            }
            Ok(Some(Err(error))) => Some(News::Troubled(Trouble::of(&error))),
            Ok(None) => return ControlFlow::Continue(()),
            Err(_) => Some(News::Troubled(Trouble::Unreachable("it did not finish its list in time".to_owned()))),
        };
        let Some(news) = news else { continue };
        let begins_anew = is_late || matches!(news, News::Troubled(Trouble::TooMuch));
        let pause = match &news {
            News::Troubled(Trouble::TooMuch) => Some(LONGEST_PAUSE_REFUSED),
            News::Troubled(trouble) => Some(pauses.next().unwrap_or(LONGEST_PAUSE).min(longest_pause(feed, trouble))),
            News::Listed(_) | News::Changed(_) | News::Gone(_) => None,
        };
        if tell.send(Signal { feed: feed.clone(), news }).await.is_err() {
            return ControlFlow::Break(());
        }
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        if begins_anew {
            return ControlFlow::Continue(());
        }
    }
}

/// How much a feed's objects weigh.
#[derive(Debug, Default)]
struct Weight {
    bytes: HashMap<String, usize>,
    in_all: usize,
}

impl Weight {
    fn take(&mut self, event: &Event<DynamicObject>) {
        match event {
            Event::Init => *self = Self::default(),
            Event::InitApply(object) | Event::Apply(object) => {
                let bytes = bytes_of(&object.data);
                self.in_all += bytes;
                self.in_all -= self.bytes.insert(object.name_any(), bytes).unwrap_or_default();
            }
            Event::Delete(object) => self.in_all -= self.bytes.remove(&object.name_any()).unwrap_or_default(),
            Event::InitDone => {}
        }
    }

    fn exceeds(&self, (objects, bytes): (usize, usize)) -> bool {
        self.bytes.len() > objects || self.in_all > bytes
    }
}

/// About how much memory a value takes.
fn bytes_of(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + bytes_of(value)).sum(),
    }
}

fn longest_pause(feed: &Feed, trouble: &Trouble) -> Duration {
    if *trouble == Trouble::Forbidden && !feed.is_ours() { LONGEST_PAUSE_REFUSED } else { LONGEST_PAUSE }
}

/// What an event tells; while a list comes in parts, nothing yet.
fn news_of(event: Event<DynamicObject>, feed: &Feed, listing: &mut Option<Vec<Object>>) -> Option<News> {
    match event {
        Event::Init => {
            *listing = Some(Vec::new());
            None
        }
        Event::InitApply(object) => {
            listing.get_or_insert_default().push(to_object(object, feed));
            None
        }
        Event::InitDone => Some(News::Listed(listing.take().unwrap_or_default())),
        Event::Apply(object) => Some(News::Changed(to_object(object, feed))),
        Event::Delete(object) => Some(News::Gone(key_of(&object, feed))),
    }
}

fn key_of(object: &DynamicObject, feed: &Feed) -> ObjectKey {
    ObjectKey { kind: feed.kind().name().into(), namespace: object.namespace().unwrap_or_default().into(), name: object.name_any().into() }
}

/// The object as the compiler takes it. Who manages which field is left out: it is most of what there is, and nobody reads it.
fn to_object(mut object: DynamicObject, feed: &Feed) -> Object {
    object.metadata.managed_fields = None;
    let key = key_of(&object, feed);
    let kind = feed.kind();
    let metadata = &object.metadata;
    let uid = metadata.uid.clone().unwrap_or_else(|| key.to_string());
    let (generation, created) = (metadata.generation.unwrap_or_default(), metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()));
    let resource_version = metadata.resource_version.clone().unwrap_or_default();
    // Items of a list do not say what they are.
    let mut raw = serde_json::to_value(&object).unwrap_or(Value::Null);
    if let Value::Object(members) = &mut raw {
        members.insert("apiVersion".to_owned(), kind.api_version().into());
        members.insert("kind".to_owned(), kind.name().into());
    }
    Object {
        key,
        api_version: kind.api_version().into(),
        uid: uid.into(),
        generation,
        resource_version: resource_version.into(),
        created,
        raw: Arc::new(raw),
        origin: None,
    }
}

impl Trouble {
    fn of(error: &watcher::Error) -> Self {
        use watcher::Error as E;
        match error {
            E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => match error {
                kube::Error::Api(status) => Self::of_status(status.code, &status.message),
                other => Self::Unreachable(root_of(other)),
            },
            E::WatchError(status) => Self::of_status(status.code, &status.message),
            E::NoResourceVersion => Self::Unreachable("its list has no version".to_owned()),
        }
    }

    fn of_status(code: u16, message: &str) -> Self {
        match code {
            403 => Self::Forbidden,
            404 => Self::NoSuchKind,
            code => Self::Unreachable(format!("it answers {code}: {message}")),
        }
    }
}

/// What is at the bottom of an error: the rest only says that something went wrong.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn secret(name: &str, bytes: usize) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"key": "x".repeat(bytes)}})).unwrap()
    }

    #[test]
    fn what_a_namespace_holds_is_weighed() {
        let (mut weight, bound) = (Weight::default(), (2, 10_000));
        weight.take(&Event::InitApply(secret("a", 4_000)));
        weight.take(&Event::InitApply(secret("b", 4_000)));
        assert!(!weight.exceeds(bound));
        // The same one once more, and larger.
        weight.take(&Event::Apply(secret("b", 6_000)));
        assert!(weight.exceeds(bound));
        weight.take(&Event::Delete(secret("b", 0)));
        weight.take(&Event::Apply(secret("c", 10)));
        assert!(!weight.exceeds(bound));
        weight.take(&Event::Apply(secret("d", 10)));
        assert!(weight.exceeds(bound), "three of them");
        weight.take(&Event::Init);
        assert!(!weight.exceeds(bound));
    }
}
