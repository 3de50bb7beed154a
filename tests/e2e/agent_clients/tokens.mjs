// How many tokens of o200k, OpenAI's vocabulary since GPT-4o, standard input is.
import { encode } from "gpt-tokenizer/encoding/o200k_base";

let text = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (piece) => (text += piece));
process.stdin.on("end", () => console.log(encode(text).length));
