// What a page that the server wrote in full still wants: times in the reader's zone, and buttons that copy.
import "./dom.js";
import { localTimes } from "./format.js";

localTimes();
