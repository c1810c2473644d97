import { testEngines, testScripts } from "./testing.ts";

testScripts("isolation none", () => testEngines("none"));
testScripts("isolation process", () => testEngines("process"));
