//! What an application holds: operations in, inputs, methods and desired properties out.
//! next: `link/mod.rs`, the task that keeps the connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::credentials::Settings;
use crate::error::{ClientError, SettingsError};
use crate::link::{self, Command, Input, LinkState, MethodCall, Outbound, TwinKind};
use crate::message::Message;

/// The largest topic and body that a hub takes in one message.
const MAX_BODY: usize = 262_144;
const MAX_TOPIC: usize = 63_487;
/// How many inputs may wait for the application; more than any hub sends without an acknowledgement.
const INPUTS: usize = 1024;
/// How many method calls may wait for the application.
const METHODS: usize = 32;

/// A connected (or reconnecting) client. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct ModuleClient {
    topics: crate::topics::Topics,
    outbox: mpsc::Sender<Outbound>,
    commands: mpsc::Sender<Command>,
    closing: Arc<watch::Sender<bool>>,
    state: watch::Receiver<LinkState>,
    desired: watch::Receiver<Value>,
    inputs: Taken<Input>,
    methods: Taken<MethodCall>,
}

type Taken<T> = Arc<Mutex<Option<mpsc::Receiver<T>>>>;

/// What was sent to this module (or, for a device, from the cloud).
pub struct Inputs(mpsc::Receiver<Input>);

/// Direct methods called on this module.
pub struct Methods(mpsc::Receiver<MethodCall>);

impl ModuleClient {
    /// Connects as the environment of a module's container says, in the background of the
    /// current tokio runtime.
    pub fn from_environment() -> Result<Self, SettingsError> {
        Ok(Self::connect(Settings::from_environment()?))
    }

    /// Connects with these settings, in the background of the current tokio runtime.
    pub fn connect(settings: Settings) -> Self {
        let (outbox, sends) = mpsc::channel(1);
        let (commands, asked) = mpsc::channel(16);
        let (closing, closed) = watch::channel(false);
        let (state_out, state) = watch::channel(LinkState::Connecting);
        let (desired_out, desired) = watch::channel(Value::Null);
        let (input_out, inputs) = mpsc::channel(INPUTS);
        let (method_out, methods) = mpsc::channel(METHODS);
        let topics = settings.topics();
        let out = link::Outlets {
            state: state_out,
            desired: desired_out,
            inputs: input_out,
            methods: method_out,
            commands: commands.downgrade(),
        };
        tokio::spawn(link::run(settings, link::Inlets { sends, asked, closed }, out));
        Self {
            topics,
            outbox,
            commands,
            closing: Arc::new(closing),
            state,
            desired,
            inputs: Arc::new(Mutex::new(Some(inputs))),
            methods: Arc::new(Mutex::new(Some(methods))),
        }
    }

    /// Sends to an output; resolves when the hub has acknowledged it. Waits through outages.
    pub async fn send(&self, output: &str, message: Message) -> Result<(), ClientError> {
        self.publish(Some(output), message).await
    }

    /// Sends telemetry without an output, as devices do.
    pub async fn send_telemetry(&self, message: Message) -> Result<(), ClientError> {
        self.publish(None, message).await
    }

    async fn publish(&self, output: Option<&str>, message: Message) -> Result<(), ClientError> {
        let topic = self.topics.events(&message.bag(output));
        for (size, limit) in [(topic.len(), MAX_TOPIC), (message.body.len(), MAX_BODY)] {
            if size > limit {
                return Err(ClientError::TooLarge { size, limit });
            }
        }
        let (acked, answer) = oneshot::channel();
        let outbound = Outbound { topic, body: message.body, acked };
        self.outbox.send(outbound).await.map_err(|_| ClientError::Closed)?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// The whole twin: `{"desired":{…},"reported":{…}}`.
    pub async fn twin(&self) -> Result<Value, ClientError> {
        self.ask_twin(TwinKind::Get).await
    }

    /// Merges a patch into the reported properties (null deletes); resolves when the hub has it.
    pub async fn report(&self, patch: Value) -> Result<(), ClientError> {
        self.ask_twin(TwinKind::Report(patch.to_string())).await.map(drop)
    }

    async fn ask_twin(&self, kind: TwinKind) -> Result<Value, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Twin { kind, reply }).await?;
        answer.await.map_err(|_| ClientError::Closed)?
    }

    /// The desired properties: null until first known, then always the whole of them. Missed
    /// changes are fetched after a reconnect.
    pub async fn desired(&self) -> Result<watch::Receiver<Value>, ClientError> {
        self.tell(Command::WantDesired).await?;
        Ok(self.desired.clone())
    }

    /// What is sent to this client. There is one receiver: a second call gives an empty one.
    pub async fn inputs(&self) -> Result<Inputs, ClientError> {
        self.tell(Command::WantInputs).await?;
        Ok(Inputs(take(&self.inputs)))
    }

    /// Direct methods. There is one receiver: a second call gives an empty one.
    pub async fn methods(&self) -> Result<Methods, ClientError> {
        self.tell(Command::WantMethods).await?;
        Ok(Methods(take(&self.methods)))
    }

    /// The state of the connection, for logs.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Waits a moment for acknowledgements under way, says goodbye to the hub and ends.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, LinkState::Closed));
        let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
    }

    async fn tell(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| ClientError::Closed)
    }
}

fn take<T>(slot: &Taken<T>) -> mpsc::Receiver<T> {
    let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.unwrap_or_else(|| mpsc::channel(1).1)
}

impl Inputs {
    /// The next one; `None` when the client is closed.
    pub async fn recv(&mut self) -> Option<Input> {
        self.0.recv().await
    }
}

impl Methods {
    /// The next call; `None` when the client is closed.
    pub async fn recv(&mut self) -> Option<MethodCall> {
        self.0.recv().await
    }
}
