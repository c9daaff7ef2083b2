// An app made with the JavaScript SDK's server: says what it was sent, and who called, as the sidecar beside it told.

const { DaprServer, HttpMethod } = require("@dapr/dapr");

async function main() {
  const server = new DaprServer({
    serverHost: "127.0.0.1",
    serverPort: process.argv[2],
    clientOptions: { daprHost: "127.0.0.1", daprPort: process.env.DAPR_HTTP_PORT },
  });
  await server.invoker.listen(
    "whoami",
    async (data) => ({
      body: data.body,
      caller: data.headers["outrigger-caller-id"],
      wire: data.headers["outrigger-wire"],
    }),
    { method: HttpMethod.POST },
  );
  await server.start();
  console.log("started");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
