// OpenAI's SDK for Node: chat, streams, tools for 50 turns, responses, structured output, errors, usage.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "none", maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const user = [{ role: "user", content: "How is the weather?" }];
const parameters = {
  type: "object",
  properties: { place: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 7 } },
  required: ["place", "days"],
  additionalProperties: false,
};
const tool = { type: "function", function: { name: "weather", parameters } };

const whole = await client.chat.completions.create({ model, messages: user, max_tokens: 20 });
assert.equal(whole.usage.completion_tokens, 20);
const stream = await client.chat.completions.create({
  model, messages: user, max_tokens: 12, stream: true, stream_options: { include_usage: true },
});
let words = 0, usage = null;
for await (const chunk of stream) {
  words += chunk.choices[0]?.delta?.content ? 1 : 0;
  usage = chunk.usage ?? usage;
}
assert.deepEqual([words, usage.completion_tokens], [12, 12]);

const messages = [...user];
let several = 0;
for (let turn = 0; turn < 50; turn++) {
  const answer = await client.chat.completions.create({ model, messages, tools: [tool], tool_choice: "required" });
  const message = answer.choices[0].message;
  several += message.tool_calls.length > 1 ? 1 : 0;
  for (const call of message.tool_calls) {
    const given = JSON.parse(call.function.arguments);
    assert(given.days >= 1 && given.days <= 7 && typeof given.place === "string");
  }
  const computed = answer.usage.prompt_tokens - answer.usage.prompt_tokens_details.cached_tokens;
  assert(!turn || computed < 128, JSON.stringify(answer.usage));
  messages.push(message);
  for (const call of message.tool_calls) {
    messages.push({ role: "tool", tool_call_id: call.id, content: `sunny ${turn}` });
  }
}
assert(several, "a share of 0.3 of the calls is followed by another one");
const called = client.chat.completions.stream({ model, messages, tools: [tool], tool_choice: "required" });
JSON.parse((await called.finalChatCompletion()).choices[0].message.tool_calls[0].function.arguments);

const format = { type: "json_schema", json_schema: { name: "city", schema: parameters, strict: true } };
const typed = await client.chat.completions.create({ model, messages: user, response_format: format });
assert(JSON.parse(typed.choices[0].message.content).days);

const first = await client.responses.create({ model, input: "x".repeat(4000), max_output_tokens: 16 });
assert.deepEqual([first.status, first.usage.output_tokens], ["incomplete", 16]);
const second = await client.responses.create({ model, input: "and then?", previous_response_id: first.id });
assert(second.status === "completed" && second.usage.input_tokens_details.cached_tokens >= 992);
const events = client.responses.stream({ model, input: "hello", max_output_tokens: 5 });
let deltas = 0;
for await (const event of events) deltas += event.type === "response.output_text.delta" ? 1 : 0;
assert.equal(deltas, 5);
assert.equal((await events.finalResponse()).usage.output_tokens, 5);

await assert.rejects(
  client.chat.completions.create({ model, messages: [{ role: "user", content: "x".repeat(5_000_000) }] }),
  (error) => error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded" && !!error.requestID,
);
console.log("ok");
