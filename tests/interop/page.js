// Runs inside the page: the SDK as an application holds it, with its objects kept by uuid and made readable as JSON.

(() => {
  const objects = new Map();
  let client, messenger, socket;

  // What this SDK cannot be made to send is written to its own socket.
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      socket = this;
    }
  };

  /** What the SDK gives, as JSON, every conversation and message in it kept for later calls. */
  function readable(value) {
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(readable);
    if (typeof value.toCache === "function") {
      const kind = "participants" in value ? "conversation" : "message";
      const name = `${kind}:${value.uuid}`;
      // Of a conversation the newest object is held: one out of history would put old titles back.
      if (!(value.lastSeq < objects.get(name)?.lastSeq)) objects.set(name, value);
      return { ...value.toCache(), ...(kind === "conversation" ? { lastSeq: value.lastSeq } : {}) };
    }
    const members = Object.entries(value).filter(([, member]) => typeof member !== "function");
    return Object.fromEntries(members.map(([name, member]) => [name, readable(member)]));
  }

  const listen = (source, names, nameOf = (name) => name) => {
    for (const name of names) source.on(nameOf(name), (event) => window.tell(name, readable(event)));
  };

  /** The SDK has a messenger only once somebody is logged in. */
  function meetMessenger({ result }) {
    if (!result || messenger) return;
    messenger = VoxImplant.getMessenger();
    listen(messenger, Object.values(VoxImplant.Messaging.MessengerEvents));
  }

  window.start = async (host) => {
    client = VoxImplant.getInstance();
    client.on(VoxImplant.Events.AuthResult, meetMessenger);
    const connection = ["ConnectionEstablished", "ConnectionFailed", "ConnectionClosed", "AuthResult", "RefreshTokenResult"];
    listen(client, connection, (name) => VoxImplant.Events[name]);
    await client.init({ serverIp: host, micRequired: false, videoSupport: false, showWarnings: false });
  };

  window.perform = async ({ on, set, call, args }) => {
    const holder = { client, messenger, socket }[on] ?? objects.get(on);
    if (holder === undefined) throw new Error(`the SDK never gave ${on} to this page`);
    Object.assign(holder, set);
    try {
      return { result: readable(await holder[call](...args)) ?? null };
    } catch (error) {
      return { error: error instanceof Error ? String(error) : (readable(error) ?? null) };
    }
  };
})();
