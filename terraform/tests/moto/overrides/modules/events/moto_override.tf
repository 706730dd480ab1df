resource "aws_msk_configuration" "this" {
  count = 0
}

resource "aws_msk_cluster" "this" {
  count = 0
}

resource "aws_msk_scram_secret_association" "this" {
  count = 0
}

resource "aws_appautoscaling_target" "disk" {
  count = 0
}

resource "aws_appautoscaling_policy" "disk" {
  count = 0
}

resource "aws_instance" "broker" {
  monitoring = false

  lifecycle {
    ignore_changes = [ami, disable_api_termination, vpc_security_group_ids]
  }
}

resource "aws_ec2_subnet_cidr_reservation" "brokers" {
  lifecycle {
    ignore_changes = [description]
  }
}
