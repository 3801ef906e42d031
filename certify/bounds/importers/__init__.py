"""Networks as graphs: read from torch programs and ONNX files, and compared with their source."""
