// Ranks a few items for a user, from Node.js; the .proto file is all that is known of the service.
//
// Usage: node rank.mjs ADDRESS USER ITEM...
//    as: node rank.mjs 127.0.0.1:50051 user-1 item-7 item-9 item-12

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../../proto/recsys/v1/ranking.proto", import.meta.url));
const DEADLINE_MS = 1_000;

// Three tries while a server starts or stops, and ever fewer where all of them fail.
const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: [{ service: "recsys.v1.RankingService", method: "Rank" }],
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: "0.05s",
        maxBackoff: "1s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
  retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
};

const [address, userId, ...itemIds] = process.argv.slice(2);
if (userId === undefined) {
  console.error("usage: node rank.mjs ADDRESS USER ITEM...");
  process.exit(2);
}

// Numbers of 64 bits, such as times in microseconds, are strings: JavaScript's numbers do not hold all of them.
const { recsys } = grpc.loadPackageDefinition(loadSync(PROTO, { longs: String, enums: String, defaults: true }));
const client = new recsys.v1.RankingService(address, grpc.credentials.createInsecure(), {
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
});

const request = { userId, candidates: itemIds.map((itemId) => ({ itemId })), surface: "example" };
client.Rank(request, { deadline: Date.now() + DEADLINE_MS }, (error, ranking) => {
  if (error) {
    console.error(`${address} answered ${grpc.status[error.code]}: ${error.details}`);
    process.exitCode = 1;
  } else {
    console.log(`bundle ${ranking.bundleId}`);
    ranking.items.forEach(({ itemId, score, clickProbability }, place) => {
      console.log(`${place + 1}. ${itemId}  score ${score.toFixed(3)}  click ${(100 * clickProbability).toFixed(1)}%`);
    });
  }
  client.close();
});
