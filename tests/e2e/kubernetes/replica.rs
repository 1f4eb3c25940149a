//! What writes statuses, as one of several replicas has it: an election and a writer, fed by a test instead of by watches.

use std::{path::Path, sync::Arc};

use kube::{
    Client, Config,
    api::{Api, ApiResource, DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus::{Registry, TextEncoder};
use ringfence::{
    clock::Clock,
    source::Configuration,
    status::{Leadership, StatusMetrics, Writer, WriterParts},
};
use ringfence_core::{
    api::{Kind, Object, ObjectKey},
    compile::Options,
};
use serde_json::Value;
use tokio::task::JoinSet;

/// A client that is who `kubeconfig` says.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

/// One replica, as far as statuses go.
pub struct Replica {
    client: Client,
    pub configuration: Arc<Configuration>,
    leadership: Leadership,
    registry: Registry,
    _tasks: JoinSet<()>,
}

impl Replica {
    /// Starts it; nothing is compiled yet.
    pub async fn start(kubeconfig: &Path, identity: &str, options: Options) -> Self {
        let client = client(kubeconfig).await;
        let clock = Clock::system();
        let leadership = Leadership::stand(client.clone(), "ringfence", "ringfence-status", identity.to_owned(), clock.clone());
        let registry = Registry::new();
        let metrics = StatusMetrics::new(&registry).unwrap();
        let configuration = Arc::new(Configuration::new(&[], options));
        let writer = Writer::new(WriterParts { client: client.clone(), namespaces: Vec::new(), clock, metrics });
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(configuration.subscribe(), leadership.held()));
        Self { client, configuration, leadership, registry, _tasks: tasks }
    }

    /// Puts in force what the API server has.
    pub async fn sync(&self) {
        let mut objects = Vec::new();
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_ours()) {
            let plural = if kind.name().ends_with('y') {
                kind.name().to_lowercase().replace("policy", "policies")
            } else {
                format!("{}s", kind.name().to_lowercase())
            };
            let resource = ApiResource {
                group: "ringfence.dev".to_owned(),
                version: "v1alpha1".to_owned(),
                api_version: kind.api_version().to_owned(),
                kind: kind.name().to_owned(),
                plural,
            };
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let list = api.list(&ListParams::default()).await.unwrap();
            objects.extend(list.items.iter().map(|object| read(kind, object)));
        }
        self.configuration.take(&objects);
    }

    /// Puts this policy in force, and nothing else.
    pub fn take_one(&self, policy: &Value) {
        let policy: DynamicObject = serde_json::from_value(policy.clone()).unwrap();
        self.configuration.take(&[read(Kind::CallbackPolicy, &policy)]);
    }

    /// Whether it is the holder.
    pub fn holds(&self) -> bool {
        *self.leadership.held().borrow()
    }

    /// Leaves in order.
    pub async fn leave(self) {
        self.leadership.release().await;
    }

    /// A metric's line.
    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }
}

fn read(kind: Kind, object: &DynamicObject) -> Object {
    let metadata = &object.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default().into_boxed_str();
    Object {
        key: ObjectKey { kind: kind.name().into(), namespace: text(&metadata.namespace), name: text(&metadata.name) },
        api_version: kind.api_version().into(),
        uid: text(&metadata.uid),
        generation: metadata.generation.unwrap_or_default(),
        resource_version: text(&metadata.resource_version),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        raw: Arc::new(raw(object)),
        origin: None,
    }
}

fn raw(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}
