resource "aws_instance" "this" {
  monitoring = false
}
