import { expect, test } from "vitest";
import { providerAnswer } from "../src/session";

test("an address with a state has a provider's answer, of what it names and nothing else", () => {
  const params = new URLSearchParams("state=s&code=c%20d&error_description=a+b&else=1");
  expect(providerAnswer(params)).toEqual({ state: "s", code: "c d", errorDescription: "a b" });
});

test("the code of a link is no provider's answer", () => {
  expect(providerAnswer(new URLSearchParams("code=c"))).toBeNull();
});
