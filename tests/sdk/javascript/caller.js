// Calls the app `callee` through the sidecar beside it with the JavaScript SDK, and prints what came back as JSON.
// The sidecar's ports come from the environment, as `outrigger run` gives them: DAPR_HTTP_PORT, DAPR_GRPC_PORT.

const grpc = require("@grpc/grpc-js");

async function overHttp() {
  const { DaprClient, HttpMethod } = require("@dapr/dapr");
  const client = new DaprClient({ daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT });
  const put = await client.invoker.invoke("callee", "orders/42?a=1", HttpMethod.PUT, { from: "javascript" }, {
    headers: { "x-mine": "yes" },
  });
  const got = await client.invoker.invoke("callee", "orders/43", HttpMethod.GET);
  await client.stop();
  return { put, got };
}

// The one form of the SDK that carries a service of the user's own over gRPC.
async function overGrpc() {
  // The SDK names the app that is called by this variable.
  process.env.APP_ID = "callee";
  const { DaprClient, CommunicationProtocolEnum } = require("dapr-with-proxy");
  const client = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: process.env.DAPR_GRPC_PORT,
    communicationProtocol: CommunicationProtocolEnum.GRPC,
  });
  const raw = (message) => message;
  const method = (name, streams) => ({
    path: `/outrigger.test.Echo/${name}`,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  });
  const Echo = grpc.makeGenericClientConstructor(
    { unary: method("Unary", false), bidi: method("Bidi", true), trailersOnly: method("TrailersOnly", false) },
    "Echo",
  );
  const echo = await client.proxy.create(Echo);
  const metadata = new grpc.Metadata();
  metadata.set("x-mine", "yes");
  const unary = await new Promise((resolve, reject) =>
    echo.unary(Buffer.from("from javascript"), metadata, (error, reply) => (error ? reject(error) : resolve(`${reply}`))),
  );
  const bidi = await new Promise((resolve, reject) => {
    const came = [];
    const call = echo.bidi();
    call.on("data", (message) => came.push(`${message}`));
    call.on("error", reject);
    call.on("end", () => resolve(came));
    for (const text of ["1", "2", "3"]) call.write(Buffer.from(text));
    call.end();
  });
  const trailersOnly = await new Promise((resolve) =>
    echo.trailersOnly(Buffer.from(""), (error) => resolve(error ? `${grpc.status[error.code]}: ${error.details}` : "OK")),
  );
  await client.stop();
  return { unary, bidi, trailersOnly };
}

const form = { http: overHttp, grpc: overGrpc }[process.argv[2]];
// The SDK logs to standard output; the answer is the last line there.
form().then(
  (answer) => {
    console.log(JSON.stringify(answer));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
