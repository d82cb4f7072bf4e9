// Twins as clients see them.
'use strict';

const w = require('../world');

const { assert, within } = w;

const plain = ({ properties: { desired } }) => JSON.parse(JSON.stringify(desired));
const report = (twin, patch) => within(10, new Promise((resolve, reject) => {
  twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
}), 'the reported patch');

/** The patches of `properties.desired` from now on; the first event is what is cached. */
async function patches(client) {
  const twin = await within(10, client.getTwin(), 'getTwin');
  const got = [];
  twin.on('properties.desired', (patch) => got.push(JSON.parse(JSON.stringify(patch))));
  await w.subscribed(client, 'desired');
  await w.sleep(50);
  got.length = 0;
  return got;
}

exports.twin_of_a_device = async () => {
  const deviceId = await w.device('tget');
  await w.desired(deviceId, { a: { b: [1, 'ü', true] }, text: '' });
  const twin = await within(10, (await w.opened(deviceId)).getTwin());
  const { $version, ...desired } = plain(twin);
  assert.deepStrictEqual(desired, { a: { b: [1, 'ü', true] }, text: '' });
  assert.ok(Number.isInteger($version) && Number.isInteger(twin.properties.reported.$version));
};

exports.twin_of_a_module = async () => {
  const moduleId = await w.newModule('tget');
  await w.desired(w.edge, { interval: 5 }, moduleId);
  const module = await w.openedModule(moduleId);
  const got = await patches(module);
  assert.strictEqual((await within(10, module.getTwin())).properties.desired.interval, 5);
  await w.desired(w.edge, { interval: 6 }, moduleId);
  await w.eventually(() => got.some(({ interval }) => interval === 6), 'the patch comes');
};

exports.reported_patches_merge_and_count_versions = async () => {
  const deviceId = await w.device('trep');
  const device = await w.opened(deviceId);
  const twin = await within(10, device.getTwin());
  await report(twin, { x: { y: 1, z: 'ü' }, gone: 1 });
  const first = (await within(10, device.getTwin())).properties.reported.$version;
  await report(twin, { x: { y: null, w: 2 }, gone: null });
  const { reported } = (await within(10, device.getTwin())).properties;
  assert.deepStrictEqual(JSON.parse(JSON.stringify(reported.x)), { z: 'ü', w: 2 });
  assert.ok(!('gone' in reported) && reported.$version > first, `${first} then ${reported.$version}`);
  await w.eventually(async () => {
    const { x, gone } = (await w.twin(deviceId)).properties.reported;
    return x && x.w === 2 && !('y' in x) && gone === undefined;
  }, 'the service sees them');
};

exports.desired_patches_come_with_consecutive_versions = async () => {
  const deviceId = await w.device('tdes');
  const got = await patches(await w.opened(deviceId));
  await w.desired(deviceId, { speed: 5, n: { d: 1 } });
  await w.eventually(() => got.length > 0, 'the first patch');
  await w.desired(deviceId, { n: { d: null } });
  await w.eventually(() => got.length > 1, 'the second patch');
  const version = got[0].$version;
  assert.deepStrictEqual(got, [{ speed: 5, n: { d: 1 }, $version: version }, { n: { d: null }, $version: version + 1 }]);
};

exports.desired_patches_after_a_cut_without_a_new_subscription = async () => {
  const deviceId = await w.device('tcut');
  const device = await w.opened(deviceId);
  const got = await patches(device);
  for (let round = 0; round < 3; round += 1) {
    const before = w.wire(device);
    await w.cut(device);
    await w.reconnected(device, before);
    assert.deepStrictEqual(w.wire(device).subscribedTo, [], 'the SDK subscribed again: this shows nothing');
    await w.desired(deviceId, { round });
    await w.eventually(() => got.some((patch) => patch.round === round), `the patch of round ${round}`);
  }
};

exports.get_twin_after_a_cut_without_a_new_subscription = async () => {
  const device = await w.opened(await w.device('tgcut'));
  await within(10, device.getTwin());
  await w.cut(device);
  const twin = await within(15, device.getTwin(), 'getTwin after a cut');
  assert.ok(Number.isInteger(twin.properties.desired.$version));
  await report(twin, { still: 'here' });
};

// IoT Hub itself does not keep what goes by QoS 0; the gateway does better.
exports.desired_changes_missed_while_away_come_once = w.onGateway(async () => {
  const deviceId = await w.device('tmiss');
  const device = await w.opened(deviceId);
  const got = await patches(device);
  await within(10, device.close());
  await w.desired(deviceId, { missed: 1 });
  await w.desired(deviceId, { missed: 2, other: true });
  await within(10, device.open());
  await w.eventually(() => got.some(({ missed }) => missed === 2), 'what was missed comes');
  await w.sleep(500);
  assert.strictEqual(got.filter(({ missed }) => missed === 2).length, 1, 'it came more than once');
  assert.ok(got.some(({ other }) => other === true), 'part of it is missing');
});

exports.twin_errors_have_a_body_of_json = async () => {
  const device = await w.opened(await w.device('terr'));
  const twin = await within(10, device.getTwin());
  const deep = (levels) => (levels ? { d: deep(levels - 1) } : 1);
  for (const [why, patch] of Object.entries({
    'too deep': deep(12), 'a name that starts with $': { $bad: 1 }, 'too large': { large: 'x'.repeat(40000) }, 'a name with a dot': { 'a.b': 1 },
  })) {
    const error = await report(twin, patch).then(() => undefined, (reason) => reason);
    assert.ok(error, `${why}: taken`);
    assert.ok(error.message && !(error instanceof SyntaxError), `${why}: ${error}`);
  }
  await report(twin, { fine: 1 });
  assert.strictEqual((await within(10, device.getTwin())).properties.reported.fine, 1);
};

exports.many_twin_requests_at_once = async () => {
  const deviceId = await w.device('tmany');
  const device = await w.opened(deviceId);
  const twin = await within(10, device.getTwin());
  const numbers = Array.from({ length: 30 }, (_, number) => number);
  await Promise.all(numbers.flatMap((number) => [report(twin, { [`p${number}`]: number }), within(10, device.getTwin())]));
  const { reported } = (await within(10, device.getTwin())).properties;
  for (const number of numbers) assert.strictEqual(reported[`p${number}`], number);
  await w.eventually(async () => (await w.twin(deviceId)).properties.reported.p29 === 29, 'the service sees them');
};
