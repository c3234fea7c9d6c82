// Anthropic's SDK for Node: messages, streams, tools for 50 turns, caches, structured output, errors, usage.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const user = [{ role: "user", content: "How is the weather?" }];
const tool = {
  name: "weather",
  input_schema: {
    type: "object",
    properties: { place: { type: "string" }, unit: { enum: ["C", "F"] } },
    required: ["place", "unit"],
  },
};

const whole = await client.messages.create({ model, max_tokens: 20, messages: user });
assert.deepEqual([whole.usage.output_tokens, whole.stop_reason], [20, "max_tokens"]);
const stream = client.messages.stream({ model, max_tokens: 12, messages: user });
let text = "";
stream.on("text", (part) => { text += part; });
const final = await stream.finalMessage();
assert.deepEqual([final.content[0].text, final.usage.output_tokens], [text, 12]);
const { input_tokens } = await client.messages.countTokens({ model, messages: user });
assert(input_tokens > 0);

const messages = [...user];
let several = 0;
for (let turn = 0; turn < 50; turn++) {
  const asked = { model, max_tokens: 1000, messages, tools: [tool], tool_choice: { type: "any" } };
  const answer = turn % 2 ? await client.messages.create(asked) : await client.messages.stream(asked).finalMessage();
  assert.equal(answer.stop_reason, "tool_use");
  assert(!turn || answer.usage.input_tokens < 128, JSON.stringify(answer.usage));
  several += answer.content.length > 1 ? 1 : 0;
  const results = answer.content.map((call) => {
    assert(["C", "F"].includes(call.input.unit));
    return { type: "tool_result", tool_use_id: call.id, content: `sunny ${turn}` };
  });
  messages.push({ role: "assistant", content: answer.content }, { role: "user", content: results });
}
assert(several, "a share of 0.3 of the calls is followed by another one");

const cached = { type: "text", text: "s".repeat(8000), cache_control: { type: "ephemeral", ttl: "1h" } };
const ask = () => client.messages.create({ model, max_tokens: 1, system: [cached], messages: user });
assert.equal((await ask()).usage.cache_creation.ephemeral_1h_input_tokens, 2000);
assert((await ask()).usage.cache_read_input_tokens >= 1984);

const format = { type: "json_schema", schema: { ...tool.input_schema, additionalProperties: false } };
const typed = await client.messages.create({ model, max_tokens: 1000, messages: user, output_config: { format } });
assert(["C", "F"].includes(JSON.parse(typed.content[0].text).unit));

await assert.rejects(
  client.messages.create({ model, max_tokens: 1, messages: [{ role: "user", content: "x".repeat(5_000_000) }] }),
  (error) => error instanceof Anthropic.BadRequestError && error.message.includes("prompt is too long"),
);
console.log("ok");
