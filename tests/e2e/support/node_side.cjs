// The Node side of the end-to-end run: one task a line on stdin, one answer a line on stdout.
//
// verify     npm `standardwebhooks` over the bytes as received, and over tampered ones;
//            whether JSON.stringify(JSON.parse(body)) gives the body back, as receivers that parse first rely on.
// normalise  what JSON.stringify makes of white space and strings, member order and number spelling kept;
//            `without` drops members of the payload object first (only where it holds no number).
"use strict";
const readline = require("node:readline");
const { Webhook } = require("standardwebhooks");

// Splits JSON text into strings, white space and the rest; strings are rewritten by JSON.stringify itself.
function normalise(text) {
  JSON.parse(text); // throws on what is not JSON
  return text.replace(/"(?:[^"\\]|\\.)*"|[ \t\r\n]+/g, (token) =>
    token[0] === '"' ? JSON.stringify(JSON.parse(token)) : "",
  );
}

function says(webhook, body, headers) {
  try {
    webhook.verify(body, headers);
    return "verified";
  } catch (error) {
    return `refused: ${error.message}`;
  }
}

const tasks = {
  verify({ secret, headers, body }) {
    const bytes = Buffer.from(body, "base64");
    const webhook = new Webhook(secret);
    const tampered = Buffer.from(bytes);
    tampered[tampered.length - 2] ^= 1;
    const text = bytes.toString("utf8");
    return {
      genuine: says(webhook, bytes, headers),
      tampered: says(webhook, tampered, headers),
      utf8: Buffer.from(text, "utf8").equals(bytes),
      reserialises: JSON.stringify(JSON.parse(text)) === text,
    };
  },
  normalise({ text, without }) {
    if (without) {
      const value = JSON.parse(text);
      for (const name of without) delete value.payload[name];
      return { text: JSON.stringify(value), stable: true };
    }
    const normal = normalise(text);
    return { text: normal, stable: JSON.stringify(JSON.parse(normal)) === normal };
  },
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const task = JSON.parse(line);
    process.stdout.write(JSON.stringify(tasks[task.task](task)) + "\n");
  });
