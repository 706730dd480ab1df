resource "aws_db_parameter_group" "this" {
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [parameter]
  }
}

resource "aws_db_instance" "replica" {
  count = 0
}
