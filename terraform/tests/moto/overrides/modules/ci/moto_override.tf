resource "aws_instance" "this" {
  monitoring = false

  lifecycle {
    ignore_changes = [ami, disable_api_termination]
  }
}
