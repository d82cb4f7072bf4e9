//! A module that takes messages on its inputs and acknowledges each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Subscribe};

use super::count::Arrival;
use super::mqtt::LogIn;

/// See the module documentation. Runs on a thread of its own until it is dropped.
pub struct Receiver {
    arrived: Arc<Mutex<Vec<Arrival>>>,
    is_stopping: Arc<AtomicBool>,
}

impl Receiver {
    pub fn start(log_in: LogIn) -> Self {
        let receiver = Receiver { arrived: Arc::default(), is_stopping: Arc::default() };
        let (arrived, is_stopping) =
            (Arc::clone(&receiver.arrived), Arc::clone(&receiver.is_stopping));
        std::thread::spawn(move || {
            while !is_stopping.load(Ordering::SeqCst) {
                let _ended = talk(&log_in, &arrived, &is_stopping);
                sleep(Duration::from_millis(20)); // the other side is away: again
            }
        });
        receiver
    }

    /// What came so far, in order of arrival.
    pub fn arrived(&self) -> Vec<Arrival> {
        self.arrived.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }
}

fn talk(
    log_in: &LogIn,
    arrived: &Mutex<Vec<Arrival>>,
    is_stopping: &AtomicBool,
) -> Result<(), String> {
    let mut mqtt = log_in.connect()?;
    let (device, module) = log_in.id.split_once('/').unwrap();
    let filter = format!("devices/{device}/modules/{module}/inputs/#");
    let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
    subscribe.pkid = 1;
    let mut bytes = BytesMut::new();
    subscribe.write(&mut bytes).unwrap();
    mqtt.write(&bytes)?;
    while !is_stopping.load(Ordering::SeqCst) {
        if let Some(Packet::Publish(publish)) = mqtt.read(Duration::from_millis(200))? {
            let arrival = Arrival::of(&publish.payload, publish.dup);
            arrived.lock().unwrap().push(arrival);
            mqtt.ack(publish.pkid)?;
        }
    }
    Ok(())
}
