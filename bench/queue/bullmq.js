// The peer BullMQ of `bench/queue/run`: `bullmq.js JOBS MILLISECONDS URL` enqueues so many jobs, one after another, works them 32
// at a time, and ends. A job sleeps for so many milliseconds.
const { Queue, Worker } = require("bullmq");
const Redis = require("ioredis");

const [jobs, milliseconds, url] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];

async function main() {
  const connect = () => new Redis(url, { maxRetriesPerRequest: null });
  const [producer, consumer] = [connect(), connect()];
  const queue = new Queue("jobs", { connection: producer });
  for (let n = 0; n < jobs; n++) await queue.add("nothing", { n });
  let done = 0;
  await new Promise((resolve, reject) => {
    const work = async () => {
      if (milliseconds) await new Promise((wake) => setTimeout(wake, milliseconds));
    };
    const worker = new Worker("jobs", work, { connection: consumer, concurrency: 32 });
    worker.on("failed", (_, error) => reject(error));
    worker.on("error", reject);
    worker.on("completed", () => ++done === jobs && worker.close().then(resolve, reject));
  });
  await queue.close();
  producer.disconnect();
  consumer.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
