# Kafka on EC2 (KRaft: every broker is a controller too). An address and a disk belong to a broker's number, so a machine
# that is replaced is the same broker again.

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  machines = var.backend == "ec2" ? {
    for index in range(var.ec2.brokers) : "broker-${index}" => {
      id      = index
      zone    = local.zones[index % length(local.zones)]
      address = cidrhost(var.subnets[local.zones[index % length(local.zones)]].cidr, 16 + index)
    }
  } : {}

  bootstrap_ec2 = join(",", [for machine in local.machines : "${machine.address}:9096"])

  # Sixteen bytes in base64url, as Kafka writes an id: decided by the name, so that every broker comes to the same one.
  kraft_id = "${substr(replace(replace(base64sha256(var.name), "+", "a"), "/", "b"), 0, 21)}A"
}

# Sixteen addresses that nothing else in the subnet is given.
resource "aws_ec2_subnet_cidr_reservation" "brokers" {
  for_each = var.backend == "ec2" ? var.subnets : {}

  subnet_id        = each.value.id
  cidr_block       = cidrsubnet(each.value.cidr, 28 - tonumber(split("/", each.value.cidr)[1]), 1)
  reservation_type = "explicit"
  description      = "${var.name}: event brokers"
}

data "aws_ssm_parameter" "image" {
  count = var.backend == "ec2" ? 1 : 0

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

resource "aws_iam_role" "broker" {
  count = var.backend == "ec2" ? 1 : 0

  name = "${var.name}-broker"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "broker" {
  for_each = var.backend == "ec2" ? toset(["AmazonSSMManagedInstanceCore", "CloudWatchAgentServerPolicy"]) : toset([])

  role       = aws_iam_role.broker[0].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role_policy" "broker" {
  count = var.backend == "ec2" ? 1 : 0

  name = "password"
  role = aws_iam_role.broker[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.client.arn
      },
      {
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.data_key_arn
      },
    ]
  })
}

resource "aws_iam_instance_profile" "broker" {
  count = var.backend == "ec2" ? 1 : 0

  name = "${var.name}-broker"
  role = aws_iam_role.broker[0].name
}

resource "aws_instance" "broker" {
  for_each = local.machines

  ami                         = data.aws_ssm_parameter.image[0].insecure_value
  instance_type               = var.ec2.instance_type
  subnet_id                   = var.subnets[each.value.zone].id
  private_ip                  = each.value.address
  vpc_security_group_ids      = [var.security_group_id]
  iam_instance_profile        = aws_iam_instance_profile.broker[0].name
  monitoring                  = true
  ebs_optimized               = true
  disable_api_termination     = var.protected
  user_data_replace_on_change = true

  user_data = templatefile("${path.module}/broker.sh.tftpl", {
    id            = each.value.id
    address       = each.value.address
    voters        = join(",", [for machine in local.machines : "${machine.id}@${machine.address}:9093"])
    kraft_id      = local.kraft_id
    kafka_version = var.ec2.kafka_version
    kafka_sha512  = var.ec2.kafka_sha512
    secret        = aws_secretsmanager_secret.client.name
    region        = data.aws_region.current.name
    log_group     = aws_cloudwatch_log_group.this.name
    name          = var.name
    properties    = join("\n", [for key, value in local.server_properties : "${key}=${value}"])
    replication   = local.replication
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 16
    encrypted   = true
    kms_key_id  = var.data_key_arn
  }

  tags = merge(
    { Name = "${var.name}-${each.key}" },
    var.stopped_at_budget ? { "rtc:at-budget" = "stop" } : {},
  )

  # A newer image is taken by replacing one broker after the other on purpose, not all at once by whoever plans next.
  lifecycle {
    ignore_changes = [ami]
  }

  depends_on = [aws_ec2_subnet_cidr_reservation.brokers, aws_secretsmanager_secret_version.client]
}

resource "aws_ebs_volume" "broker" {
  for_each = local.machines

  availability_zone = each.value.zone
  type              = "gp3"
  size              = var.ec2.disk_gib
  encrypted         = true
  kms_key_id        = var.data_key_arn

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_volume_attachment" "broker" {
  for_each = local.machines

  device_name                    = "/dev/sdf"
  instance_id                    = aws_instance.broker[each.key].id
  volume_id                      = aws_ebs_volume.broker[each.key].id
  stop_instance_before_detaching = true
}
